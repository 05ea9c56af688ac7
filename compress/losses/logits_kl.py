"""Softened cross-entropy of Hinton et al. 2015, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from compress.core.trace import Trace
from compress.losses.base import DISTRIBUTIONS, LOSSES, Loss, required
from compress.losses.outputs import class_logits, log_probabilities, same_outputs


@LOSSES.register("logits_kl")
class LogitsKL(Loss):
    """T^2 KL(softmax(teacher / T) || softmax(student / T)): summed over classes, mean over the outputs that count.

    The factor T^2 keeps the gradient's size when T changes (sec. 2 of the paper). At high T it approaches the squared
    distance of centred logits (`logits_mse`); at T = 1 only the classes that the teacher believes in count. Logits
    `[b, c]`, `[b, s, c]` (tag, mask) or `[b, 2, s]` (answer). A multilabel head has no softmax: use `logits_bce`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    takes_largest: ClassVar[bool] = True
    paper: ClassVar[str] = "Hinton, Vinyals, Dean 2015, arXiv 1503.02531"
    outputs: ClassVar[frozenset[str]] = DISTRIBUTIONS

    temperature: float = Field(2.0, gt=0, le=1000, description="softens both distributions; 1 to 8 is usual")

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar. Raises InputError for one output, or heads of different size."""
        one = class_logits(student, "logits_kl", "use logits_mse for a regression task")
        two = class_logits(required(teacher, "teacher"), "logits_kl", "use logits_mse for a regression task")
        same_outputs(one, two)
        soft, target = log_probabilities(one, self.temperature), log_probabilities(two, self.temperature)
        return functional.kl_div(soft, target, reduction="batchmean", log_target=True) * self.temperature**2
