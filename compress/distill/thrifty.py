"""Live or stored: whether a teacher is run for every batch of every epoch, or once, is a question of cost."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from compress.anatomy.capture import Wanted
from compress.core.artifact import write_json
from compress.core.errors import JobError
from compress.core.reporter import Reporter
from compress.core.trace import Trace
from compress.distill.stored import StoredTeacher
from compress.distill.teacher import LiveTeacher, Teacher
from compress.signals.arrays import BeyondFormatError
from compress.signals.keep import PARTS, Kept
from compress.signals.maker import Look, Maker, identity_of, probe
from compress.signals.origin import Origin
from compress.signals.ranks import Ranks
from compress.signals.store import Facts, Signals, open_shards
from compress.tasks.features import lengths
from compress.train.batches import Batch, Collate, Feature, draws
from compress.train.group import join
from compress.train.place import arithmetic, keep_freed_memory

TeacherMode = Literal["auto", "live", "stored"]
SAMPLES = 4  # batches that are timed, after one that is not
DISK = 200e6  # bytes a second that a store is written and read with: a slow disk, or a page cache with casting
FIND = 30e-6  # seconds to look one row up
ROOM = 0.5  # share of the free disk that a store may take by itself
NOTE = "teacher-mode"


@dataclass(frozen=True)
class Setting:
    """What the decision depends on. features: rows that will be trained on, `epochs` times.

    cache: folder that runs share; shards stay there. work: folder of this step, which outlives an interruption.
    fill: the task's.
    """

    features: Sequence[Feature]
    collate: Collate
    origin: Origin
    epochs: float
    batch_size: int
    device: torch.device
    cache: Path
    work: Path
    reporter: Reporter
    fill: float = 0.0


@dataclass(frozen=True)
class Decision:
    """Which mode, what was asked for, and the estimate: seconds of both ways, bytes to write, bytes free."""

    mode: Literal["live", "stored"]
    asked: TeacherMode
    why: str
    live_seconds: float | None = None
    stored_seconds: float | None = None
    write_bytes: int | None = None
    free_bytes: int | None = None


class ThriftyTeacher(Teacher):
    """A model that is run for every batch, or once for every row: `want` decides, since it says what is compared.

    Stored logits and embeddings are float32 and give the live result up to the last bits; stored hidden states,
    queries, keys and values are rounded to fp16 (relative error up to 2^-11; a teacher that runs in bf16 has rounded
    its states to 2^-8 before). The decision is noted in the work folder,
    so that a resumed run makes the same one.
    """

    def __init__(self, live: LiveTeacher, asked: TeacherMode, setting: Setting) -> None:
        self.live = live
        self.depth, self.width = live.depth, live.width
        self.asked = asked
        self.setting = setting
        self.decision = Decision("live", asked, "nothing was wanted of it")
        self.labelling_seconds = 0.0
        self._inner: Teacher = live

    def want(self, wanted: Wanted) -> None:
        """Decide, and run the teacher over the rows once when that is cheaper. Raises JobError when that fails, but for
        states beyond fp16 where nobody asked for a store: then the teacher is run for every batch after all.
        """
        self.live.want(wanted)
        kept = Kept(wanted)
        mine = self._recalled(kept) or self._decided(kept)
        # Processes that train together must speak alike: the leader's clock decides for all of them.
        stored = bool(join().told(float(mine.mode == "stored")))
        self.decision = replace(mine, mode="stored" if stored else "live")
        self._write_note(kept)
        if self.decision.mode == "stored":
            began = time.perf_counter()
            keep_freed_memory()  # as the training that follows does
            signals = self._stored(kept)
            if signals is not None:
                self._inner = StoredTeacher(signals, live=self.live, name="the stored signals")
                self._inner.want(wanted)
            self.labelling_seconds = time.perf_counter() - began

    def trace(self, batch: Mapping[str, Tensor]) -> Trace:
        """What the teacher says of a batch, live or stored."""
        return self._inner.trace(batch)

    def close(self) -> None:
        """Take the hooks off the model."""
        self.live.close()

    def measured(self) -> dict[str, Any]:
        """The decision, and how many rows came from where, for a manifest."""
        rows: dict[str, Any] = {}
        if isinstance(self._inner, StoredTeacher):
            rows = {"rows_found": self._inner.found, "rows_computed": self._inner.missed,
                    "labelling_seconds": round(self.labelling_seconds, 3)}  # fmt: skip
        return {**asdict(self.decision), **rows}

    def _look(self, batch: Batch) -> Trace:
        here = {name: value.to(self.setting.device) for name, value in batch.items()}
        with arithmetic(self.setting.origin.precision, self.setting.device):
            return self.live.trace(here)

    def _maker(self, kept: Kept) -> Maker:
        setting, look = self.setting, self._look
        form = probe(look, setting.collate, setting.features, kept, setting.fill)
        folder = setting.cache / f"signals-{identity_of(setting.origin, kept)[:32]}"
        return Maker(
            folder, setting.origin, kept, look, setting.collate, form, setting.batch_size, Ranks.of(),
            setting.reporter, setting.device.type,
        )  # fmt: skip

    def _stored(self, kept: Kept) -> Signals | None:
        """The store; None where `auto` chose it and a row shows that fp16 does not hold it: the probe saw two only."""
        why = ""
        signals: Signals | None = None
        try:
            signals = self._label(kept)
        except BeyondFormatError as error:
            if self.asked != "auto":
                raise
            why = str(error)
        if self.asked == "auto" and join().total([float(bool(why))])[0]:
            self.decision = replace(self.decision, mode="live", why=why or "fp16 does not hold what it says")
            self._write_note(kept)
            self.setting.reporter.warn(f"teacher: live after all ({self.decision.why})")
            return None
        return signals

    def _label(self, kept: Kept) -> Signals:
        maker = self._maker(kept)
        features, label = self.setting.features, "teacher's signals"
        names = maker.make(features, len(features), label)
        if maker.ranks.world > 1:  # what the other processes have not made by now is made here: nobody waits
            names = replace(maker, ranks=Ranks()).make(features, len(features), label)
        return open_shards(maker.folder, names, Facts(maker.origin, kept, maker.form, self.depth, self.width))

    def _note(self, kept: Kept) -> Path:
        return self.setting.work / f"{NOTE}-{identity_of(self.setting.origin, kept)[:16]}.json"

    def _recalled(self, kept: Kept) -> Decision | None:
        """The decision of this step's interrupted run."""
        try:
            held = Decision(**json.loads(self._note(kept).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return held if held.asked == self.asked else None

    def _decided(self, kept: Kept) -> Decision:
        decision = Decision("live" if self.asked == "live" else "stored", self.asked, "asked for")
        if self.asked == "auto":
            decision = self._cheaper(kept)
            self.setting.reporter.note(said(decision, self.setting.epochs))
        return decision

    def _write_note(self, kept: Kept) -> None:
        note = self._note(kept)
        note.parent.mkdir(parents=True, exist_ok=True)
        beside = note.with_name(f".{note.name}-{os.getpid()}")
        write_json(beside, asdict(self.decision))
        os.replace(beside, note)

    def _cheaper(self, kept: Kept) -> Decision:
        setting = self.setting
        if draws(setting.collate, setting.features):
            return Decision("live", self.asked, "the task hides other tokens in every batch")
        try:
            maker = self._maker(kept)
            lacking = maker.lacking(setting.features)
            pace = seconds_per_row(self._look, setting)
        except JobError as error:
            return Decision("live", self.asked, str(error))
        return estimate(lacking, maker, pace, setting)


def said(decision: Decision, epochs: float) -> str:
    """The decision with both numbers, for people."""
    if decision.live_seconds is None or decision.stored_seconds is None:
        return f"teacher: {decision.mode} ({decision.why})"
    return (
        f"teacher: {decision.mode} (live about {decision.live_seconds:.0f} s over {epochs:g} epochs, stored about "
        f"{decision.stored_seconds:.0f} s with {(decision.write_bytes or 0) / 1e6:.0f} MB to write; {decision.why})"
    )


def seconds_per_row(look: Look, setting: Setting) -> float:
    """Seconds of a forward pass for one row: a few batches, evenly over the lengths. One before warms the model up."""
    order = sorted(range(len(setting.features)), key=lambda row: len(setting.features[row]["input_ids"]))
    last = max(0, len(order) - setting.batch_size)
    spent, rows = 0.0, 0
    for number in range(SAMPLES + 1):
        first = round(last * (max(0, number - 1) + 0.5) / SAMPLES)
        chosen = [setting.features[row] for row in order[first : first + setting.batch_size]]
        batch = setting.collate(chosen, torch.Generator().manual_seed(0))
        began = time.perf_counter()
        look(batch)
        if setting.device.type == "cuda":
            torch.cuda.synchronize(setting.device)
        if number:
            spent, rows = spent + time.perf_counter() - began, rows + len(chosen)
    return spent / rows


def estimate(lacking: tuple[int, int], maker: Maker, pace: float, setting: Setting) -> Decision:
    """Both ways in seconds. lacking: rows and tokens to label yet. pace: seconds of a forward pass for one row."""
    total = len(setting.features)
    rows, tokens = lacking
    writes = maker.form.bytes_of(rows, tokens)
    read = maker.form.bytes_of(total, sum(lengths(setting.features))) * setting.epochs
    live = setting.epochs * total * pace
    stored = rows * pace + (writes + read) / DISK + setting.epochs * total * FIND
    setting.cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(setting.cache).free
    fits = writes < ROOM * free
    mode: Literal["live", "stored"] = "stored" if fits and stored < live else "live"
    why = "the cheaper way" if fits else f"only {free / 1e9:.1f} GB of disk are free"
    if mode == "stored" and any(getattr(maker.kept.wanted, part) for part in PARTS):
        why += "; states are rounded to fp16"
    return Decision(mode, "auto", why, _rounded(live), _rounded(stored), writes, free)


def _rounded(seconds: float) -> float:
    return round(seconds, 3) if math.isfinite(seconds) else 0.0
