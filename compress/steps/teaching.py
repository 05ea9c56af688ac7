"""The teachers of a distillation: loaded, and looked at before a student is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from compress.core.errors import InputError
from compress.corpora.corpus import Corpus
from compress.distill.checks import check_head, check_labels, check_one_tokenizer, check_quality
from compress.distill.distillation import Distillation, Told
from compress.losses.base import Loss
from compress.steps.base import Context
from compress.tasks.base import Task
from compress.tasks.features import encode_rows
from compress.train.facts import positions
from compress.train.folder import Loaded, load_model

COMPARED = 100  # rows on which tokenizers are compared


@dataclass(frozen=True)
class Teaching:
    """The teachers in the recipe's order. named: as it names them. heads: whether each has one trained for the task, so
    that it can be scored."""

    named: list[str]
    sources: list[str]
    loaded: list[Loaded]
    heads: list[bool]

    @property
    def first(self) -> Loaded:
        """The one that the student is built from, and whose tokens several share."""
        return self.loaded[0]

    @property
    def head(self) -> bool:
        """Whether all have a trained head."""
        return all(self.heads)

    def longest(self, asked: int | None) -> int:
        """The longest input in tokens. Raises InputError for more than a teacher reads."""
        chosen = asked or min(teacher.max_length for teacher in self.loaded)
        for teacher, source in zip(self.loaded, self.sources, strict=True):
            if chosen > (most := positions(teacher.model)):
                raise InputError(f"max_length: {source} reads at most {most} tokens; set it to {most} or less")
        return chosen

    def share_tokens(self, work: Distillation) -> None:
        """Raises InputError when several teachers read a row differently: it is encoded once, for all of them."""
        for other, source in zip(self.loaded[1:], self.sources[1:], strict=True):
            some = work.corpus.texts("dev")[:COMPARED]
            encoded = [
                encode_rows(work.task, tokenizer, some, work.max_length)
                for tokenizer in (self.first.tokenizer, other.tokenizer)
            ]
            both = (encoded[0], encoded[1])
            check_one_tokenizer(self.first.tokenizer, other.tokenizer, both, (self.sources[0], source))

    def scores(self, work: Distillation, several: bool, asked: bool) -> dict[str, Any]:
        """Each one with a head on dev: under `teacher`, or under `teachers` by name.

        asked: whether a loss listens to them, so that they must be better than chance.
        """
        found: dict[str, Any] = {}
        for name, source, teacher, head in zip(self.named, self.sources, self.loaded, self.heads, strict=True):
            if not head:
                continue
            scores, chance = work.score(teacher.model, "dev")
            if asked:
                check_quality(scores[work.task.metric], chance, work.task.metric, source)
            nn.Module.to(teacher.model, "cpu")  # students are built on the CPU; the training moves it again
            found["chance"] = chance
            if several:
                found.setdefault("teachers", {})[name] = {"dev": scores}
            else:
                found["teacher"] = {"dev": scores}
        return found

    def told(self, work: Distillation) -> list[Told]:
        """What the training needs of each. work: the rows as the teachers read them."""
        return [
            Told(teacher.model, work.origin(source, teacher.commit))
            for teacher, source in zip(self.loaded, self.sources, strict=True)
        ]


def teachers_of(
    named: Sequence[str], task: Task, corpus: Corpus, losses: Sequence[Loss], context: Context, *, weighed: bool
) -> Teaching:
    """Load the teachers. task: as which they read the corpus. weighed: whether their outputs decide how much each
    counts.

    Raises InputError for a head that a loss needs and that is not there, and for labels that are not the corpus's.
    """
    sources = [context.source(name) for name in named]
    labels = len(corpus.labels)
    outputs = {"classes": labels, "labels": labels, "value": 1, "span": 2}.get(task.output)
    loaded, heads = [], []
    for source in sources:
        teacher = load_model(source, task.auto_class, num_labels=outputs)
        head = check_head(teacher.missing, losses, source, weighed)
        if head and task.output in ("classes", "labels"):
            check_labels(teacher.labels, corpus.labels, source, context.reporter)
        loaded.append(teacher)
        heads.append(head and task.scorable)
    return Teaching(list(named), sources, loaded, heads)


def best_score(measured: dict[str, Any], metric: str) -> float:
    """The best teacher's main metric on dev, of what `Teaching.scores` found."""
    told = [measured["teacher"]] if "teacher" in measured else list(measured["teachers"].values())
    return float(max(scores["dev"][metric] for scores in told))
