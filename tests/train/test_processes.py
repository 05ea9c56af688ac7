"""Several processes train as one with the larger batch, fail as one, and go on as one."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from compress.core.errors import InputError
from compress.core.processes import Place, this_process
from compress.train.group import BUCKET, Group, _buckets
from tests.train import crew, tiny

FEW = {"epochs": 2.0, "checkpoint_steps": 0}


def _told(folder: Path, rank: int) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / f"told-{rank}.json").read_text(encoding="utf-8"))
    return told


def _train(folder: Path, rows: int, changes: dict[str, Any], world: int) -> Path:
    folder.mkdir()
    if world == 1:
        crew.plain_training(0, str(folder), rows, changes)
    else:
        assert crew.finish(crew.start(world, crew.plain_training, str(folder), rows, changes)) == [0] * world
    return folder


@pytest.mark.parametrize(
    ("rows", "changes"),
    [(61, {}), (49, {"ema": 0.9, "layer_decay": 0.5, "accumulate": 2, "max_grad_norm": 0.0})],
    ids=["uneven", "a row too few"],
)
def test_two_processes_are_one_with_the_double_batch(rows: int, changes: dict[str, Any], tmp_path: Path) -> None:
    """A row that counts twice, a mean of means, a clip by the norm of one process: each bends the curve."""
    two = _train(tmp_path / "two", rows, {**FEW, **changes, "batch_size": 8}, 2)
    one = _train(tmp_path / "one", rows, {**FEW, **changes, "batch_size": 16}, 1)
    alone, both = _told(one, 0), [_told(two, rank) for rank in (0, 1)]
    assert (alone["processes"], both[0]["processes"]) == (1, 2)
    assert len(alone["history"]) >= 4 and len(both[0]["history"]) == len(alone["history"])
    for mine, theirs in zip(both[0]["history"], alone["history"], strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert mine["terms"] == pytest.approx(theirs["terms"], abs=1e-5)
        assert (mine["step"], mine["lr"]) == (theirs["step"], theirs["lr"])
    assert both[0]["history"] == both[1]["history"]
    weights = [load_file(two / "weights-0"), load_file(two / "weights-1"), load_file(one / "weights-0")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert all(torch.allclose(value, weights[2][name], atol=2e-5) for name, value in weights[0].items())


def test_a_nan_of_one_process_stops_both_with_its_term(tmp_path: Path) -> None:
    """One process that raises leaves the other waiting, and the reason with the one that is killed."""
    changes = {"accumulate": 2, "checkpoint_steps": 1}
    assert crew.finish(crew.start(2, crew.nan_training, str(tmp_path), changes, (1, 4))) == [0, 0]
    told = [_told(tmp_path, rank)["error"] for rank in (0, 1)]
    assert told[0] == told[1]
    assert "step 2: the loss (term pull) is nan" in told[0]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["checkpoint-000000001"]


def test_killed_and_taken_up_again_it_ends_bit_equal(tmp_path: Path) -> None:
    """What the second process draws (dropout, masks) must go on too, and the checkpoint be written by one of them."""
    changes: dict[str, Any] = {"ema": 0.8, "epochs": 3.0}
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    assert crew.finish(crew.start(2, crew.whole_training, str(tmp_path / "whole"), changes, None)) == [0, 0]
    processes = crew.start(2, crew.whole_training, str(tmp_path / "broken"), changes, (1, 9))
    assert crew.finish(processes) == [1, -signal.SIGKILL]
    error = json.loads((tmp_path / "broken" / "error-0.json").read_text(encoding="utf-8"))["error"]
    assert "another process of this job ended" in error and "goes on from its newest checkpoint" in error
    assert not (tmp_path / "broken" / "told-0.json").exists()
    assert crew.finish(crew.start(2, crew.whole_training, str(tmp_path / "broken"), changes, None)) == [0, 0]
    whole, again = _told(tmp_path / "whole", 0), _told(tmp_path / "broken", 0)
    assert again["resumed_from"] == 6 and again["history"] == whole["history"]
    assert (tmp_path / "whole/weights-0").read_bytes() == (tmp_path / "broken/weights-0").read_bytes()
    assert (tmp_path / "whole/weights-1").read_bytes() == (tmp_path / "broken/weights-1").read_bytes()


def test_a_process_knows_its_place() -> None:
    """Variables that contradict each other would leave a process waiting for one that is never there."""
    assert this_process({}) == Place(0, 1, 0) and Place().leads
    assert this_process({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == Place(3, 4, 1)
    with pytest.raises(InputError, match="no such process"):
        this_process({"RANK": "2", "WORLD_SIZE": "2"})
    with pytest.raises(InputError, match="whole numbers"):
        this_process({"WORLD_SIZE": "two"})


def test_several_processes_without_a_launcher_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A WORLD_SIZE left over in the environment, answered with a traceback of torch.distributed."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(InputError, match=r"MASTER_ADDR.*torchrun --nproc-per-node"):
        tiny.train(tmp_path)


def test_small_gradients_travel_together() -> None:
    """One exchange for each of a hundred biases costs more than the gradients."""
    small, large = torch.zeros(BUCKET // 2), torch.zeros(BUCKET // 2 + 1)
    found = _buckets([small, small, large, small.to(torch.bfloat16)])
    assert [[value.numel() for value in bucket] for bucket in found] == [
        [BUCKET // 2, BUCKET // 2],
        [BUCKET // 2 + 1],
        [BUCKET // 2],
    ]
    assert Group().total([1.0, 2.0]) == [1.0, 2.0] and Group().told(3.0) == 3.0
