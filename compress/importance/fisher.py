"""Second order: the diagonal of the empirical Fisher information of the masks."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from compress.importance.base import IMPORTANCES, Evidence, Importance, Scores
from compress.importance.masks import Masks
from compress.importance.rearrange import rearranged
from compress.importance.running import examined
from compress.importance.slopes import mean_over_texts, slopes


@IMPORTANCES.register("fisher")
class Fisher(Importance):
    """Mean over texts of (dL/dm)^2, m the mask over a part and L a text's own loss.

    At a minimum of the loss its first order is 0, and half the Fisher information is what taking the part away costs
    (Kwon et al. 2022, arXiv 2204.09656). A layer has one mask over all that it adds, so its score counts how its parts
    act together; a weight w has (w dL/dw)^2.
    """

    parts: ClassVar[frozenset[str]] = frozenset({"heads", "neurons", "hidden", "layers", "weights"})
    reads: ClassVar[str] = "labels"
    paper: ClassVar[str] = "Kwon et al. 2022, arXiv 2204.09656"

    rearrange: bool = Field(
        True, description="swap kept and lost parts of a layer where the Fisher information between parts says so"
    )

    def score(self, model: PreTrainedModel, wanted: frozenset[str], evidence: Evidence) -> Scores:
        """Raises InputError without texts, labels or a loss."""
        self.check(wanted, evidence)
        return mean_over_texts(model, wanted, evidence, torch.square)

    def refine(self, model: PreTrainedModel, masks: Masks, evidence: Evidence) -> Masks:
        """The same counts, rearranged in every layer to lose the least by the Fisher information of its parts together.

        Reads the texts again, and holds a slope of every part for every text (`[n, f]`). Raises InputError as `score`.
        """
        if not self.rearrange:
            return masks
        self.check(frozenset({"heads", "neurons"}), evidence)
        return rearranged(model, masks, slopes_of_texts(model, evidence))


def slopes_of_texts(model: PreTrainedModel, evidence: Evidence) -> dict[str, Tensor]:
    """`[n, h]` or `[n, f]` by block: dL/dm of every text by every mask, on the CPU."""
    assert evidence.loss is not None
    rows: dict[str, list[Tensor]] = {}
    with examined(model):
        for batch in evidence.batches:
            found = slopes(model, batch, evidence.loss)
            for name, slope in (*found.heads.items(), *found.neurons.items()):
                rows.setdefault(name, []).append(slope.float().cpu())
    return {name: torch.cat(held) for name, held in rows.items()}
