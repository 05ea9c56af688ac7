"""Requests that are timed one by one, each until the device has finished it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from compress.bench.inside import requests
from compress.bench.inside.device_time import DeviceTime
from compress.bench.inside.pinning import pinned_after
from compress.bench.inside.state import State

Call = Callable[[], object]
Clock = Callable[[], float]

CALLS, USUAL = "timing.calls", "timing.usual"
WINDOW, LEAST, STABLE = 5, 10, 0.05


def prepare(
    state: State, mix: str, length: int | None, rows: list[list[int]], seconds: float, cores: Sequence[int] = ()
) -> dict[str, Any]:
    """Build the requests of one cell and warm up; `seconds` is the most that the warm-up may take.

    mix: `corpus` times `predict` on the texts of `rows` (tokenize, run, decode); `grid` times the engine alone on ids
    `[b, length]` that are made before. cores: CPUs to bind the threads to that do the work. Returns seconds per
    request, its spread over the requests that were tried, and the share of padding in what the engine sees.
    """
    if mix == "corpus":
        inputs = [[state.rows[index] for index in request] for request in rows]
        calls: list[Call] = [_predict(state, texts) for texts in inputs]
        padding = requests.padding_share(state, inputs)
    else:
        arrays = [requests.exact(state, request, int(length or 0)) for request in rows]
        calls = [_run(state, batch_of_ids) for batch_of_ids in arrays]
        padding = requests.padding_of(arrays)
    state.kept[CALLS] = calls
    with pinned_after(state, cores):
        durations = warm_up(calls, seconds, state.synchronize)
    state.kept[USUAL] = median(durations[-WINDOW:])
    return {"per_request": state.kept[USUAL], "warm_up": len(durations), "padding_share": padding}


def block(state: State, start: int, count: int, seconds: float) -> dict[str, Any]:
    """Time whole passes over `count` requests from `start` on (around the end) until `seconds` are spent.

    Whole passes, so that every request weighs the same however fast the subject is. One request before them is not
    counted: the process was asleep while the others were measured. On CUDA `device` has, beside the durations by the
    clock of the host, the seconds of each request by the events of the device.
    """
    calls: list[Call] = state.kept[CALLS]
    chosen = [calls[index % len(calls)] for index in range(start, start + count)]
    timed(chosen[-1], state.synchronize)
    torch = state.torch_on_cuda()
    if torch is None:
        return {"durations": passes(chosen, seconds, state.synchronize)}
    watch = DeviceTime(torch)
    durations = passes([watch.around(call) for call in chosen], seconds, state.synchronize)
    return {"durations": durations, "device": watch.seconds()}


def stream(state: State, start: int, count: int, seconds: float, settle: bool = True) -> dict[str, float]:
    """Whole passes over `count` requests, back to back: only their ends wait for the device. `{"requests", "seconds"}`.

    settle: one request before them is not counted, unless it alone takes longer than `seconds`.
    """
    calls: list[Call] = state.kept[CALLS]
    chosen = [calls[index % len(calls)] for index in range(start, start + count)]
    if settle and state.kept[USUAL] < seconds:
        timed(chosen[-1], state.synchronize)
    done, spent = back_to_back(chosen, seconds, state.synchronize)
    return {"requests": done, "seconds": spent}


def first(state: State, row: int) -> dict[str, float]:
    """Seconds of the first answer after loading."""
    return {"seconds": timed(_predict(state, [state.rows[row]]), state.synchronize)}


def warm_up(calls: Sequence[Call], seconds: float, synchronize: Call, clock: Clock = time.perf_counter) -> list[float]:
    """Call in turn until two medians of five neighbours agree within 5 %, or `seconds` are spent; the durations."""
    durations: list[float] = []
    spent = 0.0
    for call in itertools.cycle(calls):
        durations.append(timed(call, synchronize, clock))
        spent += durations[-1]
        if spent >= seconds or (len(durations) >= LEAST and _settled(durations)):
            return durations
    raise RuntimeError("no request to warm up with")


def passes(calls: Sequence[Call], seconds: float, synchronize: Call, clock: Clock = time.perf_counter) -> list[float]:
    """Durations of whole passes over `calls`, at least one, until `seconds` are spent."""
    durations: list[float] = []
    spent = 0.0
    while not durations or spent < seconds:
        for call in calls:
            durations.append(timed(call, synchronize, clock))
            spent += durations[-1]
    return durations


def back_to_back(
    calls: Sequence[Call], seconds: float, synchronize: Call, clock: Clock = time.perf_counter
) -> tuple[int, float]:
    """How many requests were answered in whole passes, at least one, until `seconds` were spent, and in which time."""
    synchronize()
    started, done = clock(), 0
    while not done or clock() - started < seconds:
        for call in calls:
            call()
        done += len(calls)
    synchronize()
    return done, clock() - started


def timed(call: Call, synchronize: Call, clock: Clock = time.perf_counter) -> float:
    """Seconds of one call, from an idle device to an idle device."""
    synchronize()
    started = clock()
    call()
    synchronize()
    return clock() - started


def _settled(durations: Sequence[float]) -> bool:
    late, early = median(durations[-WINDOW:]), median(durations[-2 * WINDOW : -WINDOW])
    return abs(late - early) <= STABLE * max(late, early)


def _predict(state: State, texts: list[Any]) -> Call:
    return lambda: state.student.predict(texts, batch_size=len(texts))


def _run(state: State, batch: Any) -> Call:
    return lambda: state.student.engine.run(batch)
