"""Checkpoints: whole or not taken, newest first, generators and weights exactly as they were."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.errors import JobError
from compress.train import checkpoint
from compress.train.checkpoint import (
    BEST,
    MANIFEST,
    MOVING,
    STATE,
    WEIGHTS,
    Best,
    CheckpointWriter,
    copied,
    generators,
    load_best,
    load_moving,
    load_weights,
    newest_complete,
    put_weights,
    set_generators,
    weights_of,
)


@pytest.fixture
def module() -> nn.Module:
    """A module with a buffer, and a frozen part that is not stored."""
    torch.manual_seed(2)
    made = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    made[2].requires_grad_(False)
    return made


def _write(work: Path, module: nn.Module, *steps: int, plan: str = "plan") -> None:
    writer = CheckpointWriter(work, plan)
    best = Best(1, 0.5, copied(weights_of(module)))
    for step in steps:
        moving = {"optimizer": {"step": step}, "generators": generators()}
        writer.write(step, module, best, moving=moving, state={"step": step}, trainer_state={"global_step": step})


def test_what_comes_back_is_what_was_written(tmp_path: Path, module: nn.Module) -> None:
    """A checkpoint that drops a part resumes into another training."""
    _write(tmp_path, module, 4)
    found = newest_complete(tmp_path, "plan", pytest.fail)
    assert found is not None and found.step == 4 and found.state == {"step": 4}
    weights = load_weights(found.folder)
    assert set(weights) == {
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        *(f"1.{n}" for n, _ in module[1].named_buffers()),
    }
    before = copied(weights)
    with torch.no_grad():
        module[0].weight.zero_()
    put_weights(module, weights)
    assert all(torch.equal(value, before[name]) for name, value in weights_of(module).items())
    assert load_moving(found.folder)["optimizer"] == {"step": 4}
    best = load_best(found.folder, 1, 0.5)
    assert best.weights is not None and best.weights.keys() == weights.keys()


def test_the_newest_two_are_kept(tmp_path: Path, module: nn.Module) -> None:
    """One is too few when the newest is damaged; all of them fill the disk."""
    _write(tmp_path, module, 1, 2, 3, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-000000003", "checkpoint-000000010"]


@pytest.mark.parametrize("name", [WEIGHTS, BEST, MOVING, STATE, MANIFEST, "trainer_state.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_one_is_left_out_with_a_warning(name: str, damage: str, tmp_path: Path, module: nn.Module) -> None:
    """safetensors loads a flipped bit silently, so hashes must tell; the one before takes over."""
    _write(tmp_path, module, 1, 2)
    path = tmp_path / "checkpoint-000000002" / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 0x10
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
    warnings: list[str] = []
    found = newest_complete(tmp_path, "plan", warnings.append)
    assert found is not None and found.step == 1
    assert len(warnings) == 1 and "checkpoint-000000002" in warnings[0]
    assert newest_complete(tmp_path, "plan", pytest.fail) == found  # and it is gone


def test_half_written_ones_are_removed(tmp_path: Path, module: nn.Module) -> None:
    """A partial folder of a killed run must neither be resumed from nor pile up."""
    _write(tmp_path, module, 1)
    (tmp_path / ".partial-checkpoint-000000002").mkdir()
    (tmp_path / "checkpoint-000000003").mkdir()
    found = newest_complete(tmp_path, "plan", lambda text: None)
    assert found is not None and found.step == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_checkpoint_of_another_training_is_not_taken(tmp_path: Path, module: nn.Module) -> None:
    """Weights of other options under the same folder would pass for this run's."""
    _write(tmp_path, module, 1, plan="other")
    warnings: list[str] = []
    assert newest_complete(tmp_path, "plan", warnings.append) is None
    assert "another training" in warnings[0]


def test_generators_go_on_where_they_were() -> None:
    """Dropout, shuffles and samplers after a resume must draw what an unbroken run draws."""

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    states = generators()
    first = draw()
    set_generators(states)
    assert draw() == first


def test_a_failed_write_leaves_the_former_ones(
    tmp_path: Path, module: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the middle of a checkpoint must not cost the last good one."""
    _write(tmp_path, module, 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(JobError, match=r"No space.*make room"):
        _write(tmp_path, module, 2)
    found = newest_complete(tmp_path, "plan", pytest.fail)
    assert found is not None and found.step == 1
