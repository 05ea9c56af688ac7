"""Trackers: what they are given, that they are closed, and that nothing is sent unless asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compress.core.errors import InputError, JobError
from compress.core.options import identity
from compress.train.batches import Batch
from compress.train.options import TrainOptions
from compress.train.trackers.base import TRACKERS, Run
from tests.train import tiny


class Recorder:
    """Stands for each of the three packages and keeps what was called."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.closed = 0

    def Settings(self, **settings: Any) -> dict[str, Any]:
        return settings

    def init(self, **how: Any) -> Recorder:
        self.started.append(how)
        return self

    def SummaryWriter(self, **how: Any) -> Recorder:
        return self.init(**how)

    def log(self, values: dict[str, float], step: int) -> None:
        self.rows.append((step, values))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.rows.append((step, {name: value}))

    def finish(self) -> None:
        self.closed += 1

    close = finish

    def values(self) -> dict[int, dict[str, float]]:
        """Numbers by step."""
        found: dict[int, dict[str, float]] = {}
        for step, row in self.rows:
            found.setdefault(step, {}).update(row)
        return found


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """A recorder in the place of every tracker's package."""
    made = Recorder()
    for name in ("tensorboard", "torch.utils.tensorboard", "wandb", "trackio"):
        module = ModuleType(name)
        for part in ("Settings", "init", "SummaryWriter", "log", "finish"):
            setattr(module, part, getattr(made, part))
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "nowhere")
    return made


def _with(**changes: Any) -> TrainOptions:
    return TrainOptions(**{**tiny.OPTIONS.dump(), "checkpoint_steps": 0, **changes})


@pytest.mark.parametrize("name", TRACKERS.names())
def test_every_number_of_the_history_arrives(name: str, recorder: Recorder, tmp_path: Path) -> None:
    """A tracker that is opened and told nothing, or whose steps are not the training's."""
    result, _ = tiny.train(tmp_path / "work", _with(trackers=[name], epochs=2))
    assert len(recorder.started) == 1 and recorder.closed == 1
    values = recorder.values()
    assert sorted(values) == [entry["step"] for entry in result.history]
    for entry in result.history:
        told = values[entry["step"]]
        assert (told["loss"], told["lr"]) == (entry["loss"], entry["lr"])
        assert {key for key in told if key.startswith("terms/")} == {"terms/hard_ce", "terms/pull"}
        assert told["examples_per_second"] > 0
        assert told.get("dev/accuracy") == entry["dev"].get("accuracy")
    assert any("dev/accuracy" in told for told in values.values())


@pytest.mark.parametrize("name", TRACKERS.names())
def test_a_missing_package_is_told_with_its_pip_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ModuleNotFoundError after hours of preparation, in place of a line to type before them."""
    tracker = TRACKERS.get(name)()
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    monkeypatch.delitem(sys.modules, tracker.package, raising=False)
    line = rf'pip install "stillroom\[{tracker.package}\]"'
    (fault,) = _with(trackers=[name]).tracker_faults()
    assert fault.path == f"trackers[0].{name}" and fault.message.endswith(line.replace("\\", ""))
    with pytest.raises(InputError, match=line):
        tracker.start(Run("student", "k" * 64))


def test_extras_are_declared() -> None:
    """A pip line that installs nothing."""
    project = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    for name in TRACKERS.names():
        package = TRACKERS.get(name).package
        assert f'{package} = ["{package}' in project


def test_a_failed_training_closes_its_tracker(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open run, still shown as running after the training has died."""

    def broken(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.tensor(float("nan")), {}

    monkeypatch.setattr(tiny, "loss", broken)
    with pytest.raises(JobError):
        tiny.train(tmp_path, _with(trackers=["wandb"]))
    assert recorder.closed == 1


def test_wandb_stays_offline_unless_logged_in(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A prompt for a key in a batch job, or curves sent to a server that nobody asked for."""
    wandb = TRACKERS.get("wandb")
    wandb().start(Run("student", "k" * 64))
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password made-up\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb().start(Run("student", "k" * 64))
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb().start(Run("student", "k" * 64))
    wandb(mode="online").start(Run("student", "k" * 64))  # type: ignore[call-arg]
    assert [how["mode"] for how in recorder.started] == ["offline", "online", "offline", "online"]
    assert all(how["settings"]["x_disable_stats"] and how["settings"]["silent"] for how in recorder.started)


def test_a_run_goes_on_where_it_was(recorder: Recorder) -> None:
    """A resumed training under a second name, or with the same steps twice in one curve."""
    TRACKERS.get("tensorboard")().start(Run("student", "k" * 64, step=30))
    TRACKERS.get("wandb")().start(Run("student", "k" * 64, step=30))
    board, wandb = recorder.started
    assert board["purge_step"] == 31 and board["log_dir"].endswith("student-kkkkkkkk")
    assert (wandb["id"], wandb["resume"]) == ("k" * 16, "allow")


def test_trackers_are_no_part_of_a_training(recorder: Recorder, tmp_path: Path) -> None:
    """A step that runs again, or other weights, because somebody wanted to look on. By default nobody does."""
    assert TrainOptions().trackers == []
    assert identity(_with(trackers=["wandb"])) == identity(_with())
    _, alone = tiny.train(tmp_path / "alone", _with(epochs=1))
    _, watched = tiny.train(tmp_path / "watched", _with(epochs=1, trackers=["trackio", "wandb"]))
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), watched.parameters(), strict=True))
