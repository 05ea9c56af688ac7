"""Which cores are chosen, and that the threads that work are bound to them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from compress.bench.cores import quiet_cores
from compress.bench.inside.pinning import bind, pinned_after, release, worked
from compress.bench.inside.state import State

LINUX = hasattr(os, "sched_getaffinity") and Path("/proc/self/task").is_dir()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four CPUs on two cores, 0 with 2 and 1 with 3, idle."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    for cpu in range(4):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 2},{cpu % 2 + 2}\n")
    (tmp_path / "stat").write_text("cpu  4 0 0 36 0 0 0 0\n" + "".join(f"cpu{n} 1 0 0 9 0 0 0 0\n" for n in range(4)))
    return tmp_path


def chosen(machine: Path, threads: int) -> list[int]:
    """The cores for so many threads on the made machine."""
    return quiet_cores(threads, machine, machine / "stat", 0.0)


def test_threads_get_cores_of_their_own(machine: Path) -> None:
    """Two threads on the two halves of one core, which are slower together than one."""
    assert chosen(machine, 2) == [0, 1]


def test_nothing_is_bound_where_threads_have_to_share(machine: Path) -> None:
    """More threads than cores, of which two would be bound to one for good; and one thread, which can move freely."""
    assert chosen(machine, 3) == [] and chosen(machine, 1) == []


def test_faster_cores_come_first(machine: Path) -> None:
    """Efficiency cores that are measured in place of the fast ones."""
    for cpu, speed in enumerate((400, 1024, 400, 1024)):
        (machine / f"cpu{cpu}" / "cpu_capacity").write_text(f"{speed}\n")
    assert chosen(machine, 2) == [1, 0]


def test_busy_cores_are_left_alone(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads bound beside another program's, while the other half of the core has nothing to do."""

    def a_while_later(seconds: float) -> None:
        lines = [f"cpu{n} {11 if n == 0 else 1} 0 0 {9 if n == 0 else 19} 0 0 0 0\n" for n in range(4)]
        (machine / "stat").write_text("".join(lines))

    monkeypatch.setattr(time, "sleep", a_while_later)
    assert chosen(machine, 2) == [1, 2]


def test_a_system_that_tells_nothing_still_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without /sys or /proc/stat, in which a benchmark would end in a traceback."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    assert quiet_cores(2, tmp_path, tmp_path / "stat", 0.0) == [3, 5]


@pytest.mark.skipif(not LINUX, reason="needs Linux")
def test_the_thread_that_works_is_bound_and_let_go_again() -> None:
    """Binding a thread that waits, while those that compute wander; threads that stay bound while new ones start."""
    allowed = os.sched_getaffinity(0)
    core, stop = min(allowed), threading.Event()
    idle = threading.Thread(target=stop.wait)
    idle.start()
    state = State()
    try:
        with pinned_after(state, [core]):
            until = time.thread_time() + 0.02
            while time.thread_time() < until:
                pass
        assert state.bound == {threading.get_native_id(): core}
        assert os.sched_getaffinity(0) == {core}
        assert idle.native_id is not None and os.sched_getaffinity(idle.native_id) == allowed
        with pinned_after(state, [core]):
            assert os.sched_getaffinity(0) == allowed
    finally:
        stop.set()
        idle.join()
        release(state)
    assert os.sched_getaffinity(0) == allowed and not state.bound


def test_a_thread_that_has_ended_is_passed_over() -> None:
    """A pool that shrank during the warm-up ends the benchmark."""
    gone = 2**22 + 1  # above the most that Linux gives
    assert bind({}, {gone: 5}, [0]) == {}
    release(State(bound={gone: 0}))


def test_without_cores_nothing_is_touched(tmp_path: Path) -> None:
    """A subject on a GPU or on macOS that is bound nonetheless."""
    state = State()
    with pinned_after(state, []):
        assert not state.bound
    assert not state.bound and worked(tmp_path) == {}
