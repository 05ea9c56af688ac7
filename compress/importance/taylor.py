"""First order: what the task's loss would change without a part."""

from __future__ import annotations

from typing import ClassVar

import torch
from transformers import PreTrainedModel

from compress.importance.base import IMPORTANCES, Evidence, Importance, Scores
from compress.importance.slopes import mean_over_texts


@IMPORTANCES.register("taylor")
class Taylor(Importance):
    """Mean over texts of |dL/dm|, m the mask over a part and L a text's own loss.

    With z the part's output, dL/dm at m = 1 is the sum over the text's tokens of z . dL/dz, the first term of the loss
    that taking the part away costs (Molchanov et al. 2017, arXiv 1611.06440; for heads Michel et al. 2019, arXiv
    1905.10650). A layer has one mask over all that it adds; a weight w has |w dL/dw|.
    """

    parts: ClassVar[frozenset[str]] = frozenset({"heads", "neurons", "hidden", "layers", "weights"})
    reads: ClassVar[str] = "labels"
    paper: ClassVar[str] = "Molchanov et al. 2017, arXiv 1611.06440; Michel et al. 2019, arXiv 1905.10650"

    def score(self, model: PreTrainedModel, wanted: frozenset[str], evidence: Evidence) -> Scores:
        """Raises InputError without texts, labels or a loss."""
        self.check(wanted, evidence)
        return mean_over_texts(model, wanted, evidence, torch.abs)
