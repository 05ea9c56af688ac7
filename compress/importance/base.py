"""What a criterion is: options, and scores of a model's parts; larger counts more."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedModel

from compress.core.options import Options
from compress.core.registry import Catalogue

Batch = Mapping[str, Tensor]
Loss = Callable[[Any, Batch], Tensor]


@dataclass
class Scores:
    """Larger counts more. heads: name of an attention block to `[h]`; neurons: name of a feed-forward block to `[f]`.

    hidden: `[d]`, None where the criterion has nothing to say of hidden units. layers: `[L]` over the stored layers,
    what the model would lose without each, None likewise. weights: dotted name of a parameter to scores of its shape.
    """

    heads: dict[str, Tensor] = field(default_factory=dict)
    neurons: dict[str, Tensor] = field(default_factory=dict)
    hidden: Tensor | None = None
    layers: Tensor | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at beside the weights.

    batches: inputs of a model `[b, s]` with `labels`, of training texts; empty where there is no corpus. loss: the
    task's supervised loss of a model's outputs on such a batch (mean over its rows), None where the head is untrained.
    seed: for what is drawn. stored: scores that a training left in the model's folder
    (`compress.importance.movement.stored_scores`).
    """

    batches: Sequence[Batch] = ()
    loss: Loss | None = None
    seed: int = 13
    stored: Mapping[str, Tensor] = field(default_factory=dict)


class Importance(Options):
    """Base of every criterion. `parts`: which fields of `Scores` it can fill. `reads`: "" when weights are enough,
    "texts" when it runs training texts, "labels" when it also needs their labels and the task's loss."""

    parts: ClassVar[frozenset[str]]
    reads: ClassVar[str] = ""

    @abstractmethod
    def score(self, model: PreTrainedModel, wanted: frozenset[str], evidence: Evidence) -> Scores:
        """Scores of the parts in `wanted`, a subset of `parts`.

        Raises InputError, saying which criterion to take instead, when it has nothing to say of a wanted part or lacks
        the texts, labels or loss that it reads.
        """


IMPORTANCES: Catalogue[Importance] = Catalogue("importance", "importances", ("compress.importance",))
