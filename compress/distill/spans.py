"""The axis that two tokenizations of one row share: the smallest spans whose borders both respect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from compress.distill.readings import Reading

WARN_BELOW = 0.9
REFUSE_BELOW = 0.1


@dataclass(frozen=True)
class Spans:
    """The span of each token of the student and of the teacher, -1 where the other side has no such characters.

    Spans are numbered in the order of the student's tokens; `count` of them.
    """

    mine: list[int]
    theirs: list[int]
    count: int


@dataclass(frozen=True)
class Coverage:
    """How much of a sample two tokenizers share.

    characters: of the characters that the student reads (without blanks), the share that lies in common spans and is
    no unknown token on either side. student_tokens, teacher_tokens: the share of the texts' tokens in common spans.
    rows: rows of the sample. spans: common spans per row, special tokens counted.
    """

    rows: int
    characters: float
    student_tokens: float
    teacher_tokens: float
    spans: float


def shared_spans(mine: Reading, theirs: Reading) -> Spans:
    """Group tokens that overlap in characters, directly or through others, and special tokens of the same role.

    A group that only one side has is no span (an accent that the other side strips, a blank). Where both sides cut a
    group at the very same characters, its tokens are paired one by one: the bytes of one emoji, say, or every token
    when both tokenizers are the same.
    """
    pairs: list[tuple[list[int], list[int]]] = []
    for one, two in (*_special(mine, theirs), *_overlapping(mine, theirs)):
        if _cuts(mine, one) == _cuts(theirs, two):
            pairs += [([i], [j]) for i, j in zip(one, two, strict=True)]
        elif one and two:
            pairs.append((one, two))
    pairs.sort(key=lambda pair: pair[0][0])
    numbers = [-1] * len(mine.ids), [-1] * len(theirs.ids)
    for number, pair in enumerate(pairs):
        for side, tokens in zip(numbers, pair, strict=True):
            for token in tokens:
                side[token] = number
    return Spans(*numbers, len(pairs))


def coverage_of(rows: Iterable[tuple[Reading, Reading]]) -> Coverage:
    """What two tokenizers share over (student, teacher) readings."""
    seen = read = shared = spans = 0
    tokens = np.zeros((2, 2), dtype=np.int64)  # student, teacher; all, in spans
    for mine, theirs in rows:
        found = shared_spans(mine, theirs)
        reached = _reached(mine)
        both = _told(mine, found.mine) & _told(theirs, found.theirs)
        seen, spans = seen + 1, spans + found.count
        read, shared = read + int(reached.sum()), shared + int((reached & both).sum())
        for side, reading, numbers in ((0, mine, found.mine), (1, theirs, found.theirs)):
            inside = [number >= 0 for number, role in zip(numbers, reading.roles, strict=True) if not role]
            tokens[side] += (len(inside), sum(inside))
    (mine_all, mine_in), (their_all, their_in) = tokens.tolist()
    return Coverage(
        rows=seen,
        characters=round(_share(shared, read), 4),
        student_tokens=round(_share(mine_in, mine_all), 4),
        teacher_tokens=round(_share(their_in, their_all), 4),
        spans=round(_share(spans, seen), 2),
    )


def _special(mine: Reading, theirs: Reading) -> Iterator[tuple[list[int], list[int]]]:
    places: dict[str, tuple[list[int], list[int]]] = {}
    for side, reading in enumerate((mine, theirs)):
        for token, role in enumerate(reading.roles):
            if role:
                places.setdefault(role, ([], []))[side].append(token)
    yield from places.values()


def _overlapping(mine: Reading, theirs: Reading) -> Iterator[tuple[list[int], list[int]]]:
    """The tokens of both texts, swept in order; a group ends where no token of either side reaches further."""
    tokens = sorted(
        (start, end, side, token)
        for side, reading in enumerate((mine, theirs))
        for token, (start, end, role) in enumerate(zip(reading.starts, reading.ends, reading.roles, strict=True))
        if not role
    )
    group: tuple[list[int], list[int]] = ([], [])
    begins = reaches = -1
    for start, end, side, token in tokens:
        # Tokens of no width (a lone space mark) belong together when they stand at the same place.
        if not (start < reaches or start == end == begins == reaches):
            yield group
            group, begins, reaches = ([], []), start, end
        group[side].append(token)
        reaches = max(reaches, end)
    yield group


def _cuts(reading: Reading, tokens: Sequence[int]) -> list[tuple[int, int]]:
    return [(reading.starts[token], reading.ends[token]) for token in tokens]


def _reached(reading: Reading) -> np.ndarray:
    """Bool over characters: no blank, and not behind what truncation left of its text."""
    inked = np.array([not letter.isspace() for letter in reading.text], dtype=bool)
    for begin, end in reading.bounds:
        last = max((e for s, e in zip(reading.starts, reading.ends, strict=True) if begin <= s < end), default=begin)
        inked[last:end] = False
    return inked


def _told(reading: Reading, numbers: Sequence[int]) -> np.ndarray:
    """Bool over characters: in a known token that lies in a common span."""
    told = np.zeros(len(reading.text), dtype=bool)
    for start, end, known, number in zip(reading.starts, reading.ends, reading.known, numbers, strict=True):
        if known and number >= 0:
            told[max(start, 0) : max(end, 0)] = True
    return told


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
