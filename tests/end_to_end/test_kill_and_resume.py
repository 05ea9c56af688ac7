"""Training killed with SIGKILL, also while it writes a checkpoint, ends bit-equal to training that was left alone."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.train import checkpoint
from compress.train.checkpoint import MANIFEST, PARTIAL, PREFIX
from tests.train.tiny import train_and_save

# A fork server imports torch once and forks clean children, which is what makes a dozen kills affordable.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["compress.train.fit", "transformers.models.bert.modeling_bert"])
LIMIT = 60.0  # seconds after which a child is taken for hung

Sabotage = tuple[str, int]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying(real: Callable[..., Any], nth: int, half: Callable[..., Any]) -> Callable[..., Any]:
    """`real`, but at the nth call half of the work is done and the process is killed."""
    calls = 0

    def replaced(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            half(*args, **kwargs)
            _die()
        return real(*args, **kwargs)

    return replaced


def _half_file(_value: object, path: Path, *_: object) -> None:
    Path(path).write_bytes(b"half")


def _child(work: str, out: str, sabotage: Sabotage | None) -> None:
    torch.set_num_threads(1)
    if sabotage is not None:
        stage, nth = sabotage
        if stage == "weights":
            checkpoint.save_file = _dying(checkpoint.save_file, nth, _half_file)
        elif stage == "optimizer":
            checkpoint.torch.save = _dying(checkpoint.torch.save, nth, _half_file)
        elif stage == "manifest":
            checkpoint.write_json = _dying(checkpoint.write_json, nth, lambda path, _: path.write_text('{"fi'))
        elif stage == "rename":
            checkpoint.os.rename = _dying(os.rename, nth, lambda source, target: None)
        elif stage == "renamed":
            checkpoint.os.rename = _dying(os.rename, nth, os.rename)
        elif stage == "removal":
            checkpoint.remove = _dying(checkpoint.remove, nth, lambda folder: (folder / MANIFEST).unlink())
    train_and_save(Path(work), Path(out))


def _start(work: Path, out: Path, sabotage: Sabotage | None = None) -> BaseProcess:
    process = SERVER.Process(target=_child, args=(str(work), str(out), sabotage))
    process.start()
    return process


def _to_the_end(work: Path, out: Path) -> bytes:
    process = _start(work, out)
    process.join(LIMIT)
    assert process.exitcode == 0
    return out.read_bytes()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The final weights of a training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    return _to_the_end(folder / "work", folder / "weights")


def test_killed_inside_the_checkpoint_writing(tmp_path: Path, unbroken: bytes) -> None:
    """A half-written checkpoint taken for a whole one would resume from garbage, or not at all."""
    work, out = tmp_path / "work", tmp_path / "weights"
    for stage in ("weights", "removal", "optimizer", "manifest", "rename", "renamed"):
        process = _start(work, out, (stage, 3 if stage == "manifest" else 1))
        process.join(LIMIT)
        assert process.exitcode == -signal.SIGKILL, stage
        assert not out.exists()
    assert _to_the_end(work, out) == unbroken


def test_killed_at_random_moments(tmp_path: Path, unbroken: bytes) -> None:
    """State that no checkpoint carries (a generator, a sum, the place in the epoch) shows as a last-bit difference."""
    work, out = tmp_path / "work", tmp_path / "weights"
    draw = random.Random(7)
    for _ in range(3):
        process = _start(work, out)
        _wait(lambda process=process: not process.is_alive() or bool(list(work.glob(f"*{PREFIX}*"))))
        process.join(draw.uniform(0.0, 0.4))
        process.kill()
        process.join(LIMIT)
    assert _to_the_end(work, out) == unbroken


def test_killed_as_a_checkpoint_begins_to_appear(tmp_path: Path, unbroken: bytes) -> None:
    """The same from outside, with nothing patched: the kill lands somewhere between the first byte and the rename."""
    work, out = tmp_path / "work", tmp_path / "weights"
    process = _start(work, out)
    _wait(lambda: not process.is_alive() or bool(list(work.glob(f"{PARTIAL}*"))))
    process.kill()
    process.join(LIMIT)
    assert _to_the_end(work, out) == unbroken


@pytest.mark.parametrize("name", ["model.safetensors", MANIFEST])
def test_a_damaged_newest_checkpoint_falls_back(name: str, tmp_path: Path, unbroken: bytes) -> None:
    """One flipped bit on the disk must cost a few minutes of training, not the run and not its correctness."""
    work, out = tmp_path / "work", tmp_path / "weights"
    process = _start(work, out, ("optimizer", 5))
    process.join(LIMIT)
    kept = sorted(work.glob(f"{PREFIX}*"))
    assert len(kept) == 2
    victim = kept[-1] / name
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0x10
    victim.write_bytes(bytes(content))
    assert _to_the_end(work, out) == unbroken


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
