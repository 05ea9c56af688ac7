"""Where a subject lost most: the drop against the reference by label, by length and by the corpus's own tag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.bench.measures import measure
from compress.bench.quality.answers import Ints, Row
from compress.bench.quality.draws import draw
from compress.bench.quality.forms import Form, accuracy
from compress.bench.quality.scored import Scored
from compress.bench.statistics import interval_of

FEWEST = 10  # rows: of fewer, one flip is a tenth of the slice and says nothing
MOST = 50  # labels or tags that are looked at, the most frequent ones
THIRDS = ("short", "medium", "long")


@dataclass(frozen=True)
class Slice:
    """Some rows. by: `label`, `length` or `tag`. metric: what is compared on them."""

    by: str
    name: str
    rows: Ints
    metric: str


def slices(metric: str, rows: Sequence[Row], labels: Sequence[str], mine: Scored, theirs: Scored) -> list[Any]:
    """Every slice of at least 10 rows, the worst drop first, each with a paired bootstrap over its own rows.

    By label the metric is the share of right answers among the units that carry it; else it is the main metric.
    """
    found: list[dict[str, Any]] = []
    if metric in mine.forms and metric in theirs.forms:
        pair = mine.forms[metric], theirs.forms[metric]
        for one in (*by_length(rows, metric), *by_tag(rows, metric)):
            found.append(_compared(one, pair[0].only(one.rows), pair[1].only(one.rows)))
    if mine.units is not None and theirs.units is not None:
        for one, label in by_label(rows, labels, mine):
            forms = [accuracy(s.units, len(rows), s.units.gold == label) for s in (mine, theirs) if s.units is not None]
            found.append(_compared(one, forms[0].only(one.rows), forms[1].only(one.rows)))
    return sorted(found, key=lambda line: -line["drop"]["value"])


def by_length(rows: Sequence[Row], metric: str) -> Iterator[Slice]:
    """Thirds of the rows by words; by characters where the texts have no spaces."""
    unit, lengths = "words", np.array([_words(row) for row in rows])
    if np.median(lengths) <= 1:
        unit, lengths = "characters", np.array([sum(map(len, _texts(row))) for row in rows])
    cuts = np.quantile(lengths, [1 / 3, 2 / 3], method="lower")
    third = np.searchsorted(cuts, lengths, side="left")
    for number, name in enumerate(THIRDS):
        chosen = np.flatnonzero(third == number)
        if len(chosen) >= FEWEST and len(chosen) < len(rows):
            low, high = lengths[chosen].min(), lengths[chosen].max()
            spread = f"{low}" if low == high else f"{low}-{high}"
            yield Slice("length", f"{name} ({spread} {unit})", chosen, metric)


def by_tag(rows: Sequence[Row], metric: str) -> Iterator[Slice]:
    """The corpus's own column `slice`, where it has one."""
    tags = np.array([str(row.get("slice") or "") for row in rows])
    for tag, count in Counter(tags.tolist()).most_common(MOST):
        if tag and count >= FEWEST:
            yield Slice("tag", tag, np.flatnonzero(tags == tag), metric)


def by_label(rows: Sequence[Row], labels: Sequence[str], scored: Scored) -> Iterator[tuple[Slice, int]]:
    """The rows that carry each label, and its number."""
    assert scored.units is not None
    for label, _ in Counter(scored.units.gold.tolist()).most_common(MOST):
        chosen = np.unique(scored.units.row[scored.units.gold == label])
        if len(chosen) >= FEWEST:
            yield Slice("label", labels[label] if label < len(labels) else str(label), chosen, "accuracy"), label


def _compared(one: Slice, mine: Form, theirs: Form) -> dict[str, Any]:
    count = len(one.rows)
    draws, once = draw({"mine": mine, "theirs": theirs}, count), np.ones((1, count))
    value, reference = float(mine(once)[0]), float(theirs(once)[0])
    return {
        "by": one.by,
        "slice": one.name,
        "metric": one.metric,
        "rows": count,
        "value": measure(value, "score", interval_of(draws["mine"]), count),
        "reference": float(f"{reference:.6g}"),
        "drop": measure(reference - value, "score", interval_of(draws["theirs"] - draws["mine"]), count),
    }


def _texts(row: Row) -> list[str]:
    if "tokens" in row:
        return list(row["tokens"])
    if "context" in row:
        return [row["question"], row["context"]]
    return [row["text"], *([row["text_pair"]] if row.get("text_pair") is not None else [])]


def _words(row: Row) -> int:
    return len(row["tokens"]) if "tokens" in row else sum(len(text.split()) for text in _texts(row))
