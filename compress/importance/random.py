"""By chance: what every other criterion must beat."""

from __future__ import annotations

from hashlib import sha256
from typing import ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.importance.base import IMPORTANCES, Evidence, Importance, Scores
from compress.importance.matrices import layer_count, matrix_names


@IMPORTANCES.register("random")
class Random(Importance):
    """Uniform numbers from 0 to 1, drawn from the seed and a part's name: which other parts are scored changes none."""

    one_unit: ClassVar[bool] = False
    parts: ClassVar[frozenset[str]] = frozenset({"heads", "neurons", "hidden", "layers", "weights"})

    def score(self, model: PreTrainedModel, wanted: frozenset[str], evidence: Evidence) -> Scores:
        """The same for the same seed."""
        self.check(wanted, evidence)
        structure, found = structure_of(model), Scores()

        def drawn(kind: str, name: str, *shape: int) -> Tensor:
            digest = sha256(f"{evidence.seed} {kind} {name}".encode()).digest()
            return torch.rand(shape, generator=torch.Generator().manual_seed(int.from_bytes(digest[:6], "big")))

        if "heads" in wanted:
            blocks = structure.attention_blocks(model)
            found.heads = {block.name: drawn("heads", block.name, block.heads) for block in blocks}
        if "neurons" in wanted:
            feeds = structure.ffn_blocks(model)
            found.neurons = {block.name: drawn("neurons", block.name, block.neurons) for block in feeds}
        if "hidden" in wanted:
            found.hidden = drawn("hidden", "", structure.width(model))
        if "layers" in wanted:
            found.layers = drawn("layers", "", layer_count(model))
        if "weights" in wanted:
            names = [f"{name}.weight" for name in matrix_names(model)]
            found.weights = {name: drawn("weights", name, *model.get_parameter(name).shape) for name in names}
        return found
