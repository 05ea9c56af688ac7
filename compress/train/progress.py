"""How fast training goes, told to the reporter a few times a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from compress.core.reporter import Progress

TELL_EVERY = 0.5  # seconds


class Pace:
    """Counts examples and training seconds (evaluation and checkpoints left out) and advances a progress bar."""

    def __init__(self, bar: Progress | None = None) -> None:
        self.bar = bar
        self.examples = 0
        self._started = time.perf_counter()
        self._away = 0.0
        self._told_at = 0.0
        self._untold = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside is not training time."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._away += time.perf_counter() - started

    def per_second(self) -> float:
        """Examples trained on per second so far."""
        return self.examples / max(time.perf_counter() - self._started - self._away, 1e-9)

    def advance(self, updates: int, loss: float) -> None:
        """Count updates; the bar is moved at most twice a second."""
        self._untold += updates
        now = time.perf_counter()
        if now - self._told_at >= TELL_EVERY:
            self._told_at = now
            self.tell(f"loss {loss:.4f}, {self.per_second():.0f} examples/s")

    def tell(self, info: str = "") -> None:
        """Move the bar by what was counted since."""
        if self.bar is not None:
            self.bar.advance(self._untold, info)
        self._untold = 0
