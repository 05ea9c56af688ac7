"""What a pruner is: options that say how much of one kind of part goes, and `cut`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from transformers import PreTrainedModel

from compress.core.errors import Fault
from compress.core.options import Options
from compress.core.registry import Catalogue
from compress.importance.base import Evidence, Importance

Spread = Literal["global", "uniform"]
Tune = Literal["masks", "outputs"]


@dataclass
class Job:
    """What a pruner works on.

    model: float32, in eval mode, on the CPU; a pruner changes a copy. importance: the recipe's criterion. texts: the
    fields of every training row, each a list of texts (a pair has two), read anew on every call. multiple: counts of
    kept heads' features and neurons are rounded to it. spread: whether layers may differ in what they keep. tune:
    what of kept heads and neurons is fitted before the cut: the numbers of their masks, their output matrices, nothing.
    """

    model: PreTrainedModel
    tokenizer: Any
    importance: Importance
    evidence: Evidence
    texts: Callable[[], Iterable[Sequence[str]]] = tuple
    multiple: int = 8
    spread: Spread = "global"
    tune: Tune | None = None


@dataclass
class Change:
    """A smaller model. facts: what was kept, for the manifest. tokenizer: the one that now belongs to it."""

    model: PreTrainedModel
    tokenizer: Any
    facts: dict[str, Any] = field(default_factory=dict)


class Pruner(Options):
    """Base of every pruner; its fields say how much goes.

    order: pruners of one step act from low to high, whatever the recipe's order. reads: the parts of `Scores` that it
    chooses by; the recipe's criterion must give them.
    """

    order: ClassVar[int] = 60
    reads: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def cut(self, job: Job) -> Change:
        """The smaller model, proven equal to the masked original.

        Raises InputError when nothing would go, when nothing would be left, or when the family does not allow it;
        JobError when the proof fails.
        """

    def decided(self) -> bool:
        """Whether its own fields say how much goes; a step's target decides otherwise."""
        return True

    def ranked_by(self) -> frozenset[str]:
        """The parts of `Scores` that it chooses by with the options that it has."""
        return self.reads

    def files(self) -> list[Path]:
        """Local files whose content decides the result."""
        return []

    def preflight(self) -> list[Fault]:
        """Faults that can be seen before anything is spent, by path below this pruner."""
        return []


PRUNERS: Catalogue[Pruner] = Catalogue("pruner", "pruners", ("compress.prune",))
