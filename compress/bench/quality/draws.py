"""Bootstrap over rows, thousands of draws at once: a draw is how often each row was taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from compress.bench.quality.answers import Floats
from compress.bench.quality.forms import Form

RESAMPLES = 2000
_AT_ONCE = 2_000_000  # counts held at a time: 16 MB


def weights(rows: int, resamples: int = RESAMPLES) -> Iterator[Floats]:
    """How often each row was drawn, `[d, rows]` at a time. They depend on the two counts alone.

    Subjects scored on the same rows are therefore paired draw by draw.
    """
    generator = np.random.default_rng([rows, resamples])
    step = max(1, min(resamples, _AT_ONCE // max(rows, 1)))
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        taken = generator.integers(0, rows, (count, rows)) + np.arange(count)[:, None] * rows
        yield np.bincount(taken.ravel(), minlength=count * rows).reshape(count, rows).astype(np.float64)


def draw(forms: Mapping[str, Form], rows: int, resamples: int = RESAMPLES) -> dict[str, Floats]:
    """Every form over the same draws of rows: name to `[resamples]` values."""
    parts: dict[str, list[Floats]] = {name: [] for name in forms}
    if forms:
        for counts in weights(rows, resamples):
            for name, form in forms.items():
                parts[name].append(form(counts))
    return {name: np.concatenate(found) for name, found in parts.items()}
