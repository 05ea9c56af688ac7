"""Silence for libraries that chat on every call, so that what a user sees is what Stillroom says."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def hushed() -> Iterator[None]:
    """Drop prints, warnings and log records below ERROR while the block runs; errors still raise and are logged."""
    disabled = logging.root.manager.disable
    # Without a handler, a library's bare `logging.warning` would install one on the root logger for good.
    keeper = logging.NullHandler()
    logging.root.addHandler(keeper)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        logging.root.removeHandler(keeper)
