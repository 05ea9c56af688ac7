"""Times by the events of a device, with a device that the test makes up, and on CUDA where there is one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from compress.bench.inside import timing
from compress.bench.inside.device_time import DeviceTime
from compress.bench.inside.state import State
from compress.bench.probes.latency import Cell, result


class Device:
    """Stamps events with its own clock, and knows their times only after it was waited for."""

    def __init__(self) -> None:
        self.now, self.reached = 0.0, False
        self.cuda = SimpleNamespace(Event=self.event, synchronize=self.synchronize)

    def synchronize(self) -> None:
        self.reached = True

    def event(self, enable_timing: bool) -> SimpleNamespace:
        assert enable_timing
        stamp = SimpleNamespace(at=0.0)
        stamp.record = lambda: (setattr(stamp, "at", self.now), setattr(self, "reached", False))
        stamp.elapsed_time = lambda end: 1e3 * (end.at - stamp.at) if self.reached else pytest.fail("not reached yet")
        return stamp

    def work(self, seconds: float) -> None:
        self.now += seconds


def test_events_stand_around_each_call_and_are_read_when_the_device_is_done() -> None:
    """Reading an event that the device has not reached raises in CUDA; one pair for all calls would time their sum."""
    device = Device()
    watch = DeviceTime(device)
    for call in [watch.around(lambda: device.work(0.25)), watch.around(lambda: device.work(0.5))]:
        call()
    assert watch.seconds() == [0.25, 0.5]


def test_a_block_on_the_device_gives_both_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that loses the order of its requests would pair the time of one with that of another."""
    device, state = Device(), State()
    monkeypatch.setattr(State, "torch_on_cuda", lambda self: device)
    state.kept[timing.CALLS] = [lambda: device.work(1.0), lambda: device.work(3.0)]
    found = timing.block(state, start=0, count=2, seconds=0.0)
    assert found["device"] == [1.0, 3.0] and len(found["durations"]) == 2


def test_a_block_on_the_cpu_has_one_clock() -> None:
    """An empty column of device times would look like a device that took none."""
    state = State()
    state.kept[timing.CALLS] = [lambda: None]
    assert set(timing.block(state, start=0, count=1, seconds=0.0)) == {"durations"}


def test_the_line_of_a_cell_shows_the_device() -> None:
    """Times that were measured and never reported would be waste."""
    cell = Cell("corpus", 1, None, rounds={"a": [[0.004] * 6] * 6}, padding={"a": 0.0})
    assert "device_p50" not in result(cell, "a", "a")
    cell.on_device["a"] = [[0.003] * 6] * 6
    assert result(cell, "a", "a")["device_p50"] == {"value": 3.0, "unit": "ms", "interval": [3.0, 3.0], "n": 36}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_events_of_cuda_fit_its_clock() -> None:
    """On a real device the time between two events lies within what the host waited."""
    one = torch.randn(2048, 2048, device="cuda")
    state = State(device="cuda")
    state.kept[timing.CALLS] = [lambda: one @ one]
    timing.block(state, start=0, count=1, seconds=0.01)
    found = timing.block(state, start=0, count=1, seconds=0.05)
    assert all(0 < device <= host for device, host in zip(found["device"], found["durations"], strict=True))
