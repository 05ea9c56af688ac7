"""How much a layer turns the state that it reads."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.anatomy.blocks import names_of, stored_layers
from compress.importance.base import IMPORTANCES, Evidence, Importance, Scores
from compress.importance.running import examined, real_tokens, run
from compress.importance.tally import Tally


@IMPORTANCES.register("similarity")
class Similarity(Importance):
    """1 - cos(state before the layer, state after it), mean over real tokens: block influence, ShortGPT.

    Men et al. 2024, arXiv 2403.03853. A layer that hardly changes the direction of a state can go. Where a stored layer
    runs several times, the mean over its runs.
    """

    parts: ClassVar[frozenset[str]] = frozenset({"layers"})
    reads: ClassVar[str] = "texts"
    paper: ClassVar[str] = "Men et al. 2024, arXiv 2403.03853"

    def score(self, model: PreTrainedModel, wanted: frozenset[str], evidence: Evidence) -> Scores:
        """Raises InputError without texts, and for anything but layers."""
        self.check(wanted, evidence)
        layers = stored_layers(structure_of(model).layer_list(model))
        names, means = names_of(model), Tally()
        now = [evidence.batches[0]]

        def hook(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            before: Tensor = inputs[0] if inputs else named["hidden_states"]
            after: Tensor = output[0] if isinstance(output, tuple) else output
            real = real_tokens(names[module], before, now[0])
            turned = 1 - functional.cosine_similarity(before[real].double(), after[real].double(), dim=-1)
            means.add(names[module], turned.clamp(min=0)[:, None])

        hooks = [layer.register_forward_hook(hook, with_kwargs=True) for layer in layers]
        try:
            with torch.no_grad(), examined(model):
                for batch in evidence.batches:
                    now[0] = batch
                    run(model, batch)
        finally:
            for each in hooks:
                each.remove()
        return Scores(layers=torch.cat([means.mean(names[layer]) for layer in layers]).float())
