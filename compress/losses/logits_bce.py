"""The teacher's probability of every label of a multilabel task (Yang et al. 2023, arXiv 2308.06453)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.outputs import flat_logits, same_outputs


@LOSSES.register("logits_bce")
class LogitsBCE(Loss):
    """T^2 KL(Bernoulli(teacher / T) || Bernoulli(student / T)) of every label by itself, mean over labels and rows.

    The logits of a multilabel head share no softmax: its probabilities do not add up to 1, and `logits_kl` would make
    the student learn differences between labels that the teacher never meant. Each label is compared as a yes-or-no
    question instead, as the paper does. The value is 0 when both agree, and the factor T^2 keeps the gradient's size.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    paper: ClassVar[str] = "Yang et al. 2023, arXiv 2308.06453"
    outputs: ClassVar[frozenset[str]] = frozenset({"labels", "classes"})

    temperature: float = Field(1.0, gt=0, le=1000, description="softens both probabilities; 1 to 4 is usual")

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar. Raises InputError for heads of different size."""
        one, two = flat_logits(student), flat_logits(required(teacher, "teacher"))
        same_outputs(one, two)
        one, two = one / self.temperature, two / self.temperature
        yes = two.sigmoid() * (logsigmoid(two) - logsigmoid(one))
        no = (-two).sigmoid() * (logsigmoid(-two) - logsigmoid(-one))
        return (yes + no).mean() * self.temperature**2
