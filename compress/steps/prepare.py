"""`prepare`: a source and a task become a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from compress.core.errors import Fault, InputError, did_you_mean
from compress.core.options import Choice
from compress.corpora.carve import carve_dev, limited
from compress.corpora.checks import text_facts, warnings_of
from compress.corpora.corpus import write_splits
from compress.corpora.normalise import Naming, Normalised, normalise
from compress.corpora.sources.base import SOURCES, SPLITS, Source
from compress.steps.base import STEPS, Context, Step
from compress.tasks.base import TASKS, Task

UNLABELLED_DEV_SHARE = 0.02


@STEPS.register("prepare")
class Prepare(Step):
    """Read a source, check it, and write normalised train, dev, test and unlabeled rows."""

    kind: ClassVar[str] = "Corpus"

    source: Annotated[Source, Choice(SOURCES)] = Field(description="Where the rows come from")
    task: Annotated[Task, Choice(TASKS)] = Field(description="What is predicted, and the columns that hold it")
    labels: list[str] | None = Field(
        None,
        min_length=2,
        description="Label names in index order; where the data says 0, 1, .. they name those by position",
    )
    label_names: dict[int | str | bool, str] | None = Field(
        None, description="Raw label to name, such as {0: negative, 1: positive}"
    )
    dev_share: float | None = Field(
        None, gt=0, lt=0.5, description="Share of train that becomes dev when the source has no dev split"
    )
    limit: int | dict[str, int] | None = Field(
        None, description="At most so many rows, drawn by seed: of every split, or {train: 1000}"
    )
    slice: str = Field("slice", description="Column that names a row's slice, for results by slice; used when present")
    seed: int | None = Field(None, ge=0, description="Seed of the rows drawn here; the recipe's when left out")

    @model_validator(mode="after")
    def _consistent(self) -> Prepare:
        limits = [self.limit] if isinstance(self.limit, int) else list((self.limit or {}).values())
        if any(limit < 1 for limit in limits):
            raise ValueError(f"limit: expected at least 1 row, came {min(limits)}")
        for split in self.limit if isinstance(self.limit, dict) else ():
            if split not in SPLITS:
                raise ValueError(f"limit: {split!r} is not a split{did_you_mean(split, SPLITS)} ({', '.join(SPLITS)})")
        twice = {name for name in self.labels or [] if (self.labels or []).count(name) > 1}
        if twice:
            raise ValueError(f"labels: {', '.join(sorted(twice))} stands twice")
        unknown = set((self.label_names or {}).values()) - set(self.labels or []) if self.labels else set()
        if unknown:
            raise ValueError(f"label_names: {', '.join(sorted(unknown))} is not among `labels`")
        return self

    def files(self) -> list[Path]:
        """The files of the source."""
        return self.source.files()

    def preflight(self) -> list[Fault]:
        """Missing files and columns, and a dev split that nothing gives."""
        faults = [
            Fault(f"source.{fault.path}" if fault.path else "source", fault.message, fault.where)
            for fault in self.source.preflight(self.task.sources(), self.task.spare)
        ]
        available = self.source.available()
        if not faults and available is not None and "dev" not in available and self._share() is None:
            faults.append(Fault("source", _no_dev(available)))
        return faults

    def _share(self) -> float | None:
        return self.dev_share if self.dev_share or self.task.labelled else UNLABELLED_DEV_SHARE

    def run(self, context: Context) -> None:
        """Read, check, carve and limit the rows, and write them."""
        raw = self.source.splits(context.seed, {*self.task.sources().values(), self.slice})
        found = normalise(
            self.source, raw, self.task, Naming(self.labels, self.label_names), self.slice, context.reporter
        )
        self._carve(found, context.seed)
        for split in found.rows:
            found.rows[split] = limited(found.rows[split], self._limit(split), context.seed)
        facts = text_facts(found.rows)
        for warning in [*found.warnings, *warnings_of(facts)]:
            context.reporter.warn(f"{context.name}: {warning}")
        context.about.update(
            task=Choice.dump(self.task),
            labels=found.labels,
            rows=write_splits(context.out, found.rows),
            slices=found.slices,
            source=self.source.registered_name,
            checks=facts,
        )

    def _limit(self, split: str) -> int | None:
        if isinstance(self.limit, dict):
            return self.limit.get(split)
        return self.limit

    def _carve(self, found: Normalised, seed: int) -> None:
        if "dev" in found.rows:
            return
        share = self._share()
        if share is None:
            raise InputError(_no_dev(set(found.rows)))
        found.rows["train"], found.rows["dev"] = carve_dev(found.rows["train"], share, seed)


def _no_dev(available: set[str]) -> str:
    has = ", ".join(sorted(available))
    return f"no dev split (it has: {has}); give one, or carve it from train with `dev_share: 0.1`"
