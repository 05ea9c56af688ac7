"""`distill` with a teacher that is run, stored on the fly, or labelled before: one student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from compress.core.artifact import ArtifactWriter, verify
from compress.core.errors import InputError
from compress.signals.keep import Keep
from compress.steps.base import Context
from compress.steps.distill import Distill
from compress.train import trainer
from teachers.signals import label
from tests.steps.test_distill import QUICK, TINY
from tests.teachers.helpers import Ears, small_checkpoint, small_corpus, taught

LOSSES: list[Any] = ["logits_kl", {"hidden_mse": {"map": "last"}}, {"attention_mse": {"map": "last"}}]
LABELS: dict[str, Any] = {
    "keep": Keep(hidden=[0, 2], attention=[2]), "dtype": "fp32", "precision": "fp32", "splits": ["train"],
    "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus and a teacher that knows it."""
    folder = tmp_path_factory.mktemp("signals")
    corpus = small_corpus(folder / "corpus", train=100)
    return corpus, taught(str(small_checkpoint(folder / "body")), corpus, folder / "teacher", epochs=10)


def distilled(scene: tuple[Path, Path], folder: Path, labelled: Path | None = None, **options: Any) -> dict[str, Any]:
    """Run `distill`; its manifest with the student's weights as `weights`."""
    given = {"student": TINY, "losses": LOSSES, **QUICK, "batch_size": 8, "accumulate": 3, "device": "cpu"}
    given |= {"unlabeled": "ignore", **options}
    if labelled is not None:
        given["signals"] = "$labelled"
    step = Distill.model_validate({"corpus": "$corpus", "teacher": "$teacher", **given})
    writer = ArtifactWriter(folder)
    inputs = {"$corpus": scene[0], "$teacher": scene[1], **({"$labelled": labelled} if labelled else {})}
    work = folder.parent / f"{folder.name}-work"
    step.run(context := Context("student", inputs, writer.open(), work, 7, Ears(), cache=folder.parent / "cache"))
    writer.commit({"kind": "Model", "key": "s", "about": context.about, "measured": context.measured})
    return {**verify(folder, "Model"), "weights": load_file(folder / "model.safetensors")}


def assert_same(one: dict[str, Any], two: dict[str, Any], within: float = 1e-5) -> None:
    """The same losses along the way and the same weights at the end, up to the order of a few sums."""
    pairs = zip(one["measured"]["history"], two["measured"]["history"], strict=True)
    assert all(a["loss"] == pytest.approx(b["loss"], rel=within) for a, b in pairs)
    assert all(torch.allclose(one["weights"][n], two["weights"][n], atol=within) for n in one["weights"])


def test_stored_and_live_teachers_make_one_student(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """A signal that reaches another row, after a shuffle or inside an accumulation, makes another student."""
    live = distilled(scene, tmp_path / "live", teacher_mode="live")
    label(*scene, tmp_path / "labelled", **LABELS)
    stored = distilled(scene, tmp_path / "stored", tmp_path / "labelled")
    assert_same(live, stored)
    rows = stored["measured"]["teacher_mode"]
    assert rows["mode"] == "stored" and rows["rows_computed"] == 0 and rows["rows_found"] >= 200
    assert live["measured"]["teacher_mode"]["mode"] == "live"


def test_logits_stored_on_the_fly_make_the_same_student(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """The cache that sibling runs share must not change a result, and must be used by the second run."""
    one = distilled(scene, tmp_path / "one", teacher_mode="live", losses=["logits_kl"])
    two = distilled(scene, tmp_path / "two", teacher_mode="stored", losses=["logits_kl"])
    assert_same(one, two)
    (folder,) = (tmp_path / "cache").iterdir()
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = distilled(scene, tmp_path / "again", teacher_mode="stored", losses=["logits_kl"])
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps
    assert all(torch.equal(two["weights"][name], again["weights"][name]) for name in two["weights"])


def test_states_on_the_fly_are_rounded_only(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """fp16 states move the student by about their rounding, not by more."""
    live = distilled(scene, tmp_path / "live", teacher_mode="live")
    stored = distilled(scene, tmp_path / "stored", teacher_mode="stored")
    for name, value in live["measured"]["first_batch"].items():
        assert stored["measured"]["first_batch"][name] == pytest.approx(value, rel=2e-3)
    assert_same(live, stored, within=0.02)


class Stop(Exception):
    """A crash."""


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first training dies at its fifth update; a checkpoint is written at every second one."""
    real, calls = trainer.Loop._look, [0]

    def look(self: Any, step: int) -> None:
        real(self, step)
        calls[0] += 1
        if calls[0] == 5:
            raise Stop

    monkeypatch.setattr(trainer.Loop, "_look", look)


@pytest.mark.usefixtures("crash")
@pytest.mark.parametrize("mode", ["signals", "auto"])
def test_a_resumed_training_goes_on_with_the_same_signals(mode: str, scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Signals that are looked up by step number go wrong exactly here."""
    labelled = None
    if mode == "signals":
        label(*scene, tmp_path / "labelled", **LABELS)
        labelled = tmp_path / "labelled"
    with pytest.raises(Stop):
        distilled(scene, tmp_path / "broken", labelled, checkpoint_steps=2)
    resumed = distilled(scene, tmp_path / "broken", labelled, checkpoint_steps=2)
    assert resumed["measured"]["resumed_from"] == 4
    whole = {"teacher_mode": resumed["measured"]["teacher_mode"]["mode"]} if mode == "auto" else {}
    unbroken = distilled(scene, tmp_path / "unbroken", labelled, **whole)
    assert all(torch.equal(resumed["weights"][name], unbroken["weights"][name]) for name in resumed["weights"])


def test_rows_of_another_split_are_computed(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Signals of too few rows make the right student all the same, and the manifest says how many were computed."""
    label(*scene, tmp_path / "labelled", **{**LABELS, "splits": ["dev"]})
    stored = distilled(scene, tmp_path / "stored", tmp_path / "labelled")
    assert_same(distilled(scene, tmp_path / "live", teacher_mode="live"), stored)
    assert stored["measured"]["teacher_mode"]["rows_computed"] > 150


def test_signals_that_do_not_fit_are_refused(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Another teacher's signals, another length, or too few layers, before anything is trained."""
    other = small_checkpoint(tmp_path / "other", labels=["bad", "good"])
    label(scene[0], other, tmp_path / "foreign", **LABELS)
    with pytest.raises(InputError, match="signals: made with the teacher"):
        distilled(scene, tmp_path / "a", tmp_path / "foreign")
    label(*scene, tmp_path / "short", **LABELS, max_length=8)
    with pytest.raises(InputError, match="made with the max_length 8, and this step's is 16"):
        distilled(scene, tmp_path / "b", tmp_path / "short")
    label(*scene, tmp_path / "few", **{**LABELS, "keep": Keep()})
    with pytest.raises(InputError, match="hold hidden none; a loss wants 0, 2"):
        distilled(scene, tmp_path / "c", tmp_path / "few")


def test_the_same_teacher_in_another_folder_is_the_same(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """A run that took its teacher from a sibling has it under another manifest; its signals are as good."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in scene[1].iterdir():
        if path.name != "manifest.json":
            (copy / path.name).write_bytes(path.read_bytes())
    label(scene[0], copy, tmp_path / "labelled", **{**LABELS, "max_length": 16})
    assert distilled(scene, tmp_path / "student", tmp_path / "labelled")["measured"]["best_metric"] is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"teacher_mode": "live"}, "are not read when `teacher_mode` is live"),
        ({"losses": ["hard_ce"]}, "nothing would read them"),
    ],
)
def test_signals_that_nothing_reads_are_refused(options: dict[str, Any], words: str) -> None:
    """An option without effect is a promise that is not kept."""
    given = {"corpus": "$c", "teacher": "$t", "signals": "$l", "student": TINY, "losses": ["logits_kl"], **options}
    with pytest.raises(ValidationError, match=words):
        Distill.model_validate(given)


def test_the_decision_stands_in_the_manifest(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """`auto` that does not say what it did cannot be checked."""
    found = distilled(scene, tmp_path / "student")["measured"]["teacher_mode"]
    assert found["asked"] == "auto" and found["mode"] in ("live", "stored")
    assert found["live_seconds"] >= 0 and found["stored_seconds"] >= 0 and found["write_bytes"] > 0
    (note,) = (tmp_path / "student-work").glob("teacher-mode-*.json")
    assert json.loads(note.read_text())["mode"] == found["mode"]
