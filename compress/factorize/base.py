"""What a factorizer is: options, and `factorize`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from compress.core.options import Options
from compress.core.registry import Catalogue
from compress.importance.base import Evidence


@dataclass
class Factorized:
    """A model with fewer parameters. facts: ranks, energies and counts, for the manifest."""

    model: PreTrainedModel
    facts: dict[str, Any] = field(default_factory=dict)


class Factorizer(Options):
    """Base of every factorization."""

    @abstractmethod
    def factorize(
        self, model: PreTrainedModel, auto_class: type[Any], tokenizer: Any, evidence: Evidence
    ) -> Factorized:
        """A new model; `model` (float32, eval, on the CPU) stays as it is.

        Raises InputError when nothing would shrink.
        """


FACTORIZERS: Catalogue[Factorizer] = Catalogue("factorizer", "factorizers", ("compress.factorize",))
