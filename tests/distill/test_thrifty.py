"""Live or stored: decided by cost, said aloud, the same after an interruption, and without effect on the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from compress.anatomy.capture import Wanted
from compress.core.errors import InputError, JobError
from compress.core.reporter import Reporter
from compress.distill import thrifty
from compress.distill.teacher import LiveTeacher
from compress.distill.thrifty import NOTE, Setting, TeacherMode, ThriftyTeacher, seconds_per_row
from compress.tasks.features import collator
from compress.tasks.mask import Mask
from tests.models import tiny
from tests.signals.made import COLLATE, TASK, batch_of, origin, rows

FEATURES = rows(40)
LOGITS = Wanted()
STATES = Wanted(logits=False, hidden=frozenset({2}))


class Notes(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def teacher_of(
    folder: Path, asked: TeacherMode = "auto", epochs: float = 4.0, calls: list[int] | None = None, **other: Any
) -> ThriftyTeacher:
    model = tiny("bert", layers=2)
    if calls is not None:
        model.register_forward_hook(lambda *_: calls.append(1))
        model.base_model.register_forward_hook(lambda *_: calls.append(1))
    given: dict[str, Any] = {
        "features": FEATURES, "collate": COLLATE, "origin": origin(), "epochs": epochs, "batch_size": 8,
        "device": torch.device("cpu"), "cache": folder / "cache", "work": folder / "work", "reporter": Notes(),
    }  # fmt: skip
    setting = Setting(**{**given, **other})
    return ThriftyTeacher(LiveTeacher(model, read=TASK.read, pool=TASK.pool), asked, setting)


def pace(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(thrifty, "seconds_per_row", lambda *_: seconds)


@pytest.mark.parametrize(
    ("seconds", "epochs", "wanted", "mode"),
    [
        (1e-2, 4, LOGITS, "stored"),  # 1.6 s against 0.4 s
        (1e-2, 1, LOGITS, "live"),  # once is what labelling costs already
        (1e-6, 4, LOGITS, "live"),  # looking a row up costs more than computing it
        (1e-2, 4, STATES, "stored"),
    ],
)
def test_the_cheaper_way_is_taken(
    seconds: float, epochs: float, wanted: Wanted, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule of thumb stores what is read once, or runs a large teacher ten times."""
    pace(monkeypatch, seconds)
    teacher = teacher_of(tmp_path, epochs=epochs)
    teacher.want(wanted)
    found = teacher.measured()
    assert found["mode"] == mode and found["asked"] == "auto"
    assert found["live_seconds"] == pytest.approx(seconds * epochs * 40, abs=1e-3)
    (said,) = [text for text in teacher.setting.reporter.said if text.startswith("teacher: ")]  # type: ignore[attr-defined]
    assert said.startswith(f"teacher: {mode} (live about ") and "stored about" in said
    assert ("rounded to fp16" in said) == (mode == "stored" and wanted is STATES)


def test_the_estimate_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 rows of 12 + 48 bytes, 0.1 s each, 3 epochs: live 12 s; stored 4 s, 1 s of writing and 3 s of reading."""
    pace(monkeypatch, 0.1)
    monkeypatch.setattr(thrifty, "DISK", 2400.0)
    monkeypatch.setattr(thrifty, "FIND", 0.01)
    teacher = teacher_of(tmp_path, epochs=3)
    teacher.want(LOGITS)
    found = teacher.measured()
    assert found["write_bytes"] == 2400 and found["live_seconds"] == 12.0
    assert found["stored_seconds"] == pytest.approx(4 + 1 + 3 + 3 * 40 * 0.01)


def test_what_is_stored_already_costs_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second student of one teacher must not pay for the labels again, nor be told that they cost."""
    pace(monkeypatch, 1e-2)
    teacher_of(tmp_path, "stored").want(LOGITS)
    calls: list[int] = []
    teacher = teacher_of(tmp_path, epochs=1.0, calls=calls, work=tmp_path / "other")
    teacher.want(LOGITS)
    assert teacher.measured()["mode"] == "stored" and teacher.measured()["write_bytes"] == 0
    calls.clear()
    trace = teacher.trace(batch_of(FEATURES[5:9]))
    assert trace.logits is not None and calls == []
    assert teacher.measured()["rows_found"] == 4


def test_a_full_disk_runs_the_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fills the disk is dearer than any forward pass."""
    pace(monkeypatch, 1.0)
    monkeypatch.setattr(thrifty, "ROOM", 0.0)
    teacher = teacher_of(tmp_path)
    teacher.want(LOGITS)
    assert teacher.measured()["mode"] == "live" and "of disk are free" in teacher.measured()["why"]


def test_an_interrupted_run_decides_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision by the clock that falls otherwise after a resume would change the last bits of the student."""
    pace(monkeypatch, 1.0)
    first = teacher_of(tmp_path)
    first.want(LOGITS)
    pace(monkeypatch, 1e-9)
    again = teacher_of(tmp_path)
    again.want(LOGITS)
    assert first.measured()["mode"] == again.measured()["mode"] == "stored"
    (note,) = (tmp_path / "work").glob(f"{NOTE}-*.json")
    note.write_text("{")
    anew = teacher_of(tmp_path, cache=tmp_path / "empty")
    anew.want(LOGITS)
    assert anew.measured()["mode"] == "live"


@pytest.mark.parametrize("asked", ["live", "stored"])
def test_what_was_asked_for_is_done(asked: TeacherMode, tmp_path: Path) -> None:
    """`live` must not write a file, `stored` must not run the teacher once it has labelled."""
    calls: list[int] = []
    teacher = teacher_of(tmp_path, asked, epochs=1.0, calls=calls)
    teacher.want(LOGITS)
    calls.clear()
    teacher.trace(batch_of(FEATURES[:4]))
    assert bool(calls) == (asked == "live")
    assert (tmp_path / "cache").exists() == (asked == "stored")
    assert teacher.measured()["mode"] == asked and teacher.measured()["asked"] == asked


def test_hidden_tokens_are_not_stored(tmp_path: Path) -> None:
    """A masked-token task draws anew for every batch: `auto` runs the teacher, `stored` says why it cannot."""
    features = [{**row, "special": [0] * len(row["input_ids"]), "mask_id": 4, "vocabulary": 50} for row in FEATURES]
    other = {"features": features, "collate": collator(Mask(), 0)}
    teacher = teacher_of(tmp_path, **other)
    teacher.want(STATES)
    assert teacher.measured()["mode"] == "live" and "hides other tokens" in teacher.measured()["why"]
    with pytest.raises(InputError, match="use `teacher_mode: live`"):
        teacher_of(tmp_path, "stored", **other).want(STATES)


def test_states_beyond_fp16_run_the_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A default that fails where running the teacher would have worked is a bad default."""
    pace(monkeypatch, 1.0)
    teacher = teacher_of(tmp_path)
    teacher.live.model.bert.encoder.layer[1].output.LayerNorm.weight.data.fill_(1e6)  # type: ignore[union-attr, operator]
    teacher.want(STATES)
    assert teacher.measured()["mode"] == "live" and "more than fp16 holds" in teacher.measured()["why"]


@pytest.mark.parametrize("asked", ["auto", "stored"])
def test_a_row_beyond_fp16_that_no_probe_saw(
    asked: TeacherMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that `auto` ends in the middle of labelling, for a choice that nobody made; who asked is told which row."""
    pace(monkeypatch, 1.0)
    teacher = teacher_of(tmp_path, asked)
    layer = teacher.live.model.bert.encoder.layer[1]  # type: ignore[union-attr, index]
    layer.register_forward_hook(lambda module, given, state: state * 1e6 if len(state) > 4 else state)
    if asked == "stored":
        with pytest.raises(JobError, match=r"more than fp16 holds.*among rows 3 to 31"):
            teacher.want(STATES)
        return
    teacher.want(STATES)
    found = teacher.measured()
    assert found["mode"] == "live" and "more than fp16 holds" in found["why"]
    trace = teacher.trace(batch_of(FEATURES[:4]))
    assert trace.hidden is not None and set(trace.hidden) == {2}
    again = teacher_of(tmp_path)
    again.want(STATES)
    assert again.measured()["mode"] == "live", "a resumed run must not label again"


def test_a_few_batches_are_timed(tmp_path: Path) -> None:
    """Timing the first call would count the warming up; timing the longest rows alone would say too much."""
    teacher = teacher_of(tmp_path)
    teacher.live.want(LOGITS)
    seen: list[int] = []

    def look(batch: Any) -> Any:
        seen.append(batch["input_ids"].shape[1])
        return teacher._look(batch)

    assert seconds_per_row(look, teacher.setting) > 0
    assert len(seen) == 5 and seen[1:] == sorted(seen[1:]) and seen[1] < seen[-1]
