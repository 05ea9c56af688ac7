"""How a step speaks while it works. The library is silent; the command line puts a Rich reporter here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LOG = logging.getLogger("stillroom")


class Progress(Protocol):
    """One bar: `advance` by done units; `info` is a short text beside it, such as the loss."""

    def advance(self, amount: float = 1, info: str = "") -> None: ...


class Reporter:
    """The silent reporter: progress goes nowhere, notes and warnings go to the `stillroom` logger."""

    @contextmanager
    def progress(self, label: str, total: float | None) -> Iterator[Progress]:
        """A bar over `total` units (None: unknown) while the block runs."""
        yield _Silent()

    def note(self, text: str) -> None:
        """Something worth knowing."""
        LOG.info(text)

    def warn(self, text: str) -> None:
        """Something that should be looked at, though the job goes on."""
        LOG.warning(text)


class _Silent:
    def advance(self, amount: float = 1, info: str = "") -> None:
        """Say nothing."""
