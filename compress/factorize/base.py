"""What a factorizer is: options, and `factorize`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.options import Options
from compress.core.registry import Catalogue
from compress.importance.base import Evidence
from compress.train.floats import refuse_quantized


@dataclass(frozen=True)
class Job:
    """What a factorizer works on.

    model: float32, in eval mode, on the CPU; it stays as it is. auto_class: the Auto class of its head. texts: called
    with a number of training texts, gives what is to be seen of them. counts: gives `[v]`, how often each token stands
    in the training texts. Either is None where there is no corpus, and costs something only when it is called.
    """

    model: PreTrainedModel
    auto_class: type[Any]
    texts: Callable[[int], Evidence] | None = None
    counts: Callable[[], Tensor] | None = None

    def __post_init__(self) -> None:
        """Raises InputError for a model that is quantized, or of another precision."""
        refuse_quantized(self.model)
        other = next((value.dtype for value in self.model.parameters() if value.dtype != torch.float32), None)
        if other is not None:
            raise InputError(f"the model has weights in {other}, and float32 is expected; give `model.float()`")


@dataclass
class Factorized:
    """A model with fewer parameters. facts: ranks, energies and what was inherited, for the manifest. lost: what could
    not go over exactly besides what was cut, in words, for the user."""

    model: PreTrainedModel
    facts: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


class Factorizer(Options):
    """Base of every factorization; its fields say how much goes."""

    @abstractmethod
    def factorize(self, job: Job) -> Factorized:
        """A new model. Draws what a new part must start from out of torch's global generator.

        Raises InputError when nothing would shrink, when the family does not allow it, and when the texts that it
        reads are not there.
        """

    def keeps_matrices(self) -> bool:
        """Whether matrices of layers go over as they are, or not at all: zeros of pruned weights stay zeros."""
        return True


FACTORIZERS: Catalogue[Factorizer] = Catalogue("factorizer", "factorizers", ("compress.factorize",))
