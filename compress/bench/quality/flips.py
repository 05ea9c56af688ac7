"""The examples that flipped: right in one of reference and subject, wrong in the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compress.bench.quality.answers import UNSEEN, Row, Units
from compress.bench.quality.scored import Scored
from compress.bench.quality.worse import fallen

MOST = 20
GAINED = 5  # of the twenty, at most, while there are losses enough
LONGEST = 300
LOST_KIND, GAINED_KIND = "lost", "gained"


def flips(rows: Sequence[Row], labels: Sequence[str], mine: Scored, theirs: Scored) -> list[dict[str, Any]]:
    """At most twenty, losses first, each kind by how sure the wrong answer was; one for a text.

    Numbers, spans and sets of labels do not flip: for them, the rows whose answer got worse most.
    """
    if mine.units is None or theirs.units is None:
        lines = fallen(rows, labels, mine, theirs)[:MOST]
        return [{**line, "text": text_of(rows[line["row"]]), "kind": LOST_KIND} for line in lines]
    lost = _units(mine.units, mine.units.right < theirs.units.right)
    gained = _units(theirs.units, mine.units.right > theirs.units.right)
    gained = gained[: max(GAINED, MOST - len(lost))]
    lost = lost[: MOST - len(gained)]
    pair = mine.units, theirs.units
    return [_line(rows, labels, unit, *pair, LOST_KIND) for unit in lost] + [
        _line(rows, labels, unit, *pair, GAINED_KIND) for unit in gained
    ]


def text_of(row: Row) -> str:
    """The text of a row, a pair with a bar between, cut to 300 characters."""
    names = ("question", "context") if "context" in row else ("text", "text_pair")
    parts = [" ".join(row["tokens"])] if "tokens" in row else [row.get(name) for name in names]
    text = " | ".join(part for part in parts if part is not None)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _units(wrong: Units, chosen: np.ndarray) -> list[int]:
    """Chosen units by how sure the wrong side was, one for each row."""
    order = sorted(np.flatnonzero(chosen).tolist(), key=lambda unit: -np.nan_to_num(wrong.sure[unit]))
    first: dict[int, int] = {}
    for unit in order:
        first.setdefault(int(wrong.row[unit]), unit)
    return list(first.values())


def _line(
    rows: Sequence[Row], labels: Sequence[str], unit: int, mine: Units, theirs: Units, kind: str
) -> dict[str, Any]:
    number = int(mine.row[unit])
    line = {
        "row": number,
        "text": text_of(rows[number]),
        "label": _name(mine.gold[unit], labels),
        "reference": _name(theirs.said[unit], labels),
        "subject": _name(mine.said[unit], labels),
        "kind": kind,
    }
    if "tokens" in rows[number]:
        line["word"] = rows[number]["tokens"][unit - int(np.searchsorted(mine.row, number))]
    return line


def _name(label: Any, labels: Sequence[str]) -> str:
    if label == UNSEEN:
        return "(cut away)"
    return labels[label] if label < len(labels) else str(label)
