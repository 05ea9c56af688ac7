"""What a criterion is: options, and scores of a model's parts; larger counts more."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.options import Options
from compress.core.registry import Catalogue
from compress.importance.masks import Masks

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
    "texts" when it runs training texts, "labels" when it also needs their labels and the task's loss. `one_unit`:
    whether a head's score can be held against a neuron's. `paper`: where it comes from."""

    parts: ClassVar[frozenset[str]]
    reads: ClassVar[str] = ""
    one_unit: ClassVar[bool] = True
    paper: ClassVar[str] = ""

    @abstractmethod
    def score(self, model: PreTrainedModel, wanted: frozenset[str], evidence: Evidence) -> Scores:
        """Scores of the parts in `wanted`, a subset of `parts`, float32 on the CPU; the model stays as it is.

        Raises InputError, saying which criterion to take instead, when it has nothing to say of a wanted part or lacks
        the texts, labels or loss that it reads.
        """

    def refine(self, model: PreTrainedModel, masks: Masks, evidence: Evidence) -> Masks:
        """A second look at a choice of 0 and 1 that was made by scores: as many parts of each block, maybe others.

        The choice itself, for a criterion that judges every part alone.
        """
        return masks

    def check(self, wanted: frozenset[str], evidence: Evidence) -> None:
        """Raises InputError for parts that the criterion cannot score, and for texts, labels or a loss it lacks."""
        name = self.registered_name
        unknown = sorted(wanted - self.parts)
        if unknown:
            raise InputError(f"{name} has nothing to say of {', '.join(unknown)}; take {_able(wanted)} instead")
        easier = _able(wanted, "labels")
        if self.reads and not evidence.batches:
            raise InputError(
                f"{name} looks at training texts, and none were given; take {_able(wanted, 'texts', 'labels')} instead"
            )
        if self.reads != "labels":
            return
        if evidence.loss is None:
            raise InputError(
                f"{name} reads the task's loss, and the model has no head trained for this task; take {easier}, "
                f"or fine-tune it with a `teach` step first"
            )
        if any("labels" not in batch for batch in evidence.batches):
            raise InputError(f"{name} needs labelled texts, and these have none; take {easier} instead")


IMPORTANCES: Catalogue[Importance] = Catalogue("importance", "importances", ("compress.importance",))


def _able(wanted: frozenset[str], *without: str) -> str:
    """The criteria that can score all of `wanted` and do not read what is in `without`."""
    methods = {name: IMPORTANCES.get(name) for name in IMPORTANCES.names()}
    found = [name for name, method in methods.items() if wanted <= method.parts and method.reads not in without]
    return " or ".join(f"`{name}`" for name in found) or "fewer parts at once"
