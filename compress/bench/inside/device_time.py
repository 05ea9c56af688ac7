"""How long a CUDA device itself took over each request, from events that it stamps as it reaches them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Call = Callable[[], object]


class DeviceTime:
    """Puts an event before and after every call into the device's own queue.

    The clock of the host says what a caller waits for; the events say what of it passed between the first kernel and
    the last. A wide gap between the two is time that the host spent before it launched anything and after it was done.
    """

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._pairs: list[tuple[Any, Any]] = []

    def around(self, call: Call) -> Call:
        """The same call between two events."""

        def watched() -> object:
            start, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            found = call()
            end.record()
            self._pairs.append((start, end))
            return found

        return watched

    def seconds(self) -> list[float]:
        """Seconds of every call, in order; waits for the device, since an event that it has not reached has no time."""
        self._torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1e3 for start, end in self._pairs]
