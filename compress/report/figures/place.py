"""Where labels go: beside their dots, without covering other dots or labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FARTHER = 16.0  # px that the second ring of places lies further out
CHARACTER, LINE = 7.6, 14.0  # px of a bold 12 px letter in a wide font, and of a line


@dataclass(frozen=True)
class Dot:
    """A dot in pixels: centre, radius, and the text that belongs to it."""

    x: float
    y: float
    radius: float
    text: str


@dataclass(frozen=True)
class Label:
    """A label: its anchor in pixels and how the text is aligned to it."""

    x: float
    y: float
    align: Literal["left", "center", "right"]


Box = tuple[float, float, float, float]


def place_labels(dots: list[Dot], width: float, height: float, lines: Sequence[Box] = ()) -> list[Label]:
    """One label a dot: of sixteen places around it, the one that covers least, stays inside, and is its own dot's.

    lines: error bars, as (left, top, right, bottom); they too had better not be covered.
    """
    taken: list[Box] = [(d.x - d.radius, d.y - d.radius, d.x + d.radius, d.y + d.radius) for d in dots]
    labels: list[Label] = []
    for index, dot in enumerate(dots):
        others = taken[:index] + taken[index + 1 :]
        rivals = dots[:index] + dots[index + 1 :]
        best = min(
            [place for reach in (0.0, FARTHER) for place in _places(dot, reach)],
            key=lambda place: _cost(place, dot.text, [*others, *lines], width, height) + _doubt(place, dot, rivals),
        )
        labels.append(best)
        taken.append(_box(best, dot.text))
    return labels


def _places(dot: Dot, reach: float) -> list[Label]:
    gap = dot.radius + 7 + reach
    slant = gap * 0.75
    return [
        Label(dot.x + slant, dot.y - slant - 3, "left"),
        Label(dot.x - slant, dot.y - slant - 3, "right"),
        Label(dot.x + slant, dot.y + slant + 3, "left"),
        Label(dot.x - slant, dot.y + slant + 3, "right"),
        Label(dot.x, dot.y - gap - 4, "center"),
        Label(dot.x, dot.y + gap + 6, "center"),
        Label(dot.x + gap + 10, dot.y, "left"),
        Label(dot.x - gap - 10, dot.y, "right"),
    ]


def _box(label: Label, text: str) -> Box:
    length = CHARACTER * len(text)
    left = label.x - {"left": 0.0, "center": length / 2, "right": length}[label.align]
    return left, label.y - LINE / 2, left + length, label.y + LINE / 2


def _cost(label: Label, text: str, others: list[Box], width: float, height: float) -> float:
    box = _box(label, text)
    outside = max(0.0, -box[0]) + max(0.0, box[2] - width) + max(0.0, -box[1]) + max(0.0, box[3] - height)
    return 50 * outside + sum(_overlap(box, other) for other in others)


def _doubt(label: Label, dot: Dot, rivals: list[Dot]) -> float:
    """By how much the text lies nearer to another dot than to its own; and a little for the second ring."""
    box = _box(label, dot.text)
    own = _distance(box, dot)
    return (own > FARTHER) * own + sum(12 * max(0.0, own + 6 - _distance(box, rival)) for rival in rivals)


def _distance(box: Box, dot: Dot) -> float:
    across = max(box[0] - dot.x, 0.0, dot.x - box[2])
    down = max(box[1] - dot.y, 0.0, dot.y - box[3])
    return max(0.0, math.hypot(across, down) - dot.radius)


def _overlap(a: Box, b: Box) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return across * down if across > 0 and down > 0 else 0.0
