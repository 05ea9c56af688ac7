"""The reporter of the command line: bars with time left on a terminal, plain lines elsewhere, all on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from compress.core.reporter import Progress, Reporter

LINE_EVERY = 30.0  # seconds between lines of one bar where there is no terminal


class RichReporter(Reporter):
    """Notes, warnings and progress of a run. `quiet` keeps only warnings."""

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        self.quiet = quiet
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        self._bars: Bars | None = None
        self._open = 0

    def note(self, text: str) -> None:
        """A line that says what happens."""
        if not self.quiet:
            self.console.print(escape(text))

    def warn(self, text: str) -> None:
        """A line that stands out, shown even when quiet."""
        self.console.print(f"[yellow]warning:[/] {escape(text)}")

    @contextmanager
    def progress(self, label: str, total: float | None) -> Iterator[Progress]:
        """A bar on a terminal; elsewhere a line every half minute, and none for what is over sooner."""
        if self.quiet:
            yield _Quiet()
        elif not self.console.is_terminal:
            yield _Lines(self.console, label, total)
        else:
            yield from self._bar(label, total)

    def _bar(self, label: str, total: float | None) -> Iterator[Progress]:
        if self._bars is None:
            self._bars = _bars(self.console)
            self._bars.start()
        bars = self._bars
        self._open += 1
        task = bars.add_task(escape(label), total=total, info="")
        try:
            yield _Bar(bars, task)
        finally:
            bars.remove_task(task)
            self._open -= 1
            if self._open == 0:
                bars.stop()
                self._bars = None


def _bars(console: Console) -> Bars:
    return Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[info]}"),
        console=console,
        transient=True,
        expand=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


class _Bar:
    def __init__(self, bars: Bars, task: TaskID) -> None:
        self.bars, self.task = bars, task

    def advance(self, amount: float = 1, info: str = "") -> None:
        """Move the bar on."""
        self.bars.advance(self.task, amount)
        if info:
            self.bars.update(self.task, info=escape(info))


class _Lines:
    def __init__(self, console: Console, label: str, total: float | None) -> None:
        self.console, self.label, self.total = console, label, total
        self.done = 0.0
        self.started = self.spoken = time.monotonic()

    def advance(self, amount: float = 1, info: str = "") -> None:
        """Count, and speak now and then."""
        self.done += amount
        now = time.monotonic()
        if now - self.spoken >= LINE_EVERY:
            self.spoken = now
            self.console.print(escape(f"{self.label}: {self._state(now)}{f', {info}' if info else ''}"))

    def _state(self, now: float) -> str:
        if not self.total:
            return f"{self.done:g} done"
        left = (now - self.started) / self.done * max(0.0, self.total - self.done) if self.done else 0.0
        return f"{self.done / self.total:.0%}, about {left:.0f} s left"


class _Quiet:
    def advance(self, amount: float = 1, info: str = "") -> None:
        """Say nothing."""
