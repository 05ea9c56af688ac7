"""Rows of a corpus to generated rows: columns to words and back, duplicates and held-out texts left out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from compress.core.errors import InputError
from compress.corpora.augment.base import Augmenter, Proposer, Words
from compress.corpora.checks import text_key

Row = dict[str, Any]
Pair = Literal["cycle", "both", "first", "second"]
TEXTS = ("text", "text_pair")
WORDS = ("tokens",)
EXAMPLES = 5
_CHUNK = 64


@dataclass
class Generated:
    """What one method gave. rows: text columns only. examples: (from, to).

    Of `made` texts, `known` stood in train or among unlabelled rows, `repeated` came twice, `held_out` stand in dev or
    test, a teacher dropped `unsure`; the rest are `rows`.
    """

    rows: list[Row] = field(default_factory=list)
    examples: list[tuple[str, str]] = field(default_factory=list)
    made: int = 0
    known: int = 0
    repeated: int = 0
    held_out: int = 0
    unsure: int = 0

    def counts(self) -> dict[str, float]:
        """Numbers for a manifest; `dropped` is the share of made texts that were not kept."""
        kept = len(self.rows)
        return {
            "made": self.made,
            "kept": kept,
            "known": self.known,
            "repeated": self.repeated,
            "held_out": self.held_out,
            "unsure": self.unsure,
            "dropped": round(1 - kept / self.made, 6) if self.made else 0.0,
        }


class Seen:
    """Keys of texts that may not be generated (again): those of the corpus, and what was generated before."""

    def __init__(self, splits: Mapping[str, Sequence[Row]]) -> None:
        self.known = {text_key(row) for split in ("train", "unlabeled") for row in splits.get(split, ())}
        self.held_out = {text_key(row) for split in ("dev", "test") for row in splits.get(split, ())}
        self.generated: set[str] = set()

    def admits(self, row: Row, counts: Generated) -> bool:
        """Whether a made row is new; counts it by its fate."""
        counts.made += 1
        key = text_key(row)
        if key in self.held_out:
            counts.held_out += 1
        elif key in self.known:
            counts.known += 1
        elif key in self.generated:
            counts.repeated += 1
        else:
            self.generated.add(key)
            return True
        return False


def text_columns(row: Mapping[str, Any], task: str) -> list[str]:
    """The columns that hold a row's text. Raises InputError for a task whose rows cannot be rewritten."""
    columns = [name for name in (*TEXTS, *WORDS) if name in row]
    strange = set(row) - {*columns, "label", "labels", "score", "tags", "slice"}
    if not columns or strange:
        held = ", ".join(sorted(row))
        raise InputError(
            f"a corpus of the task {task} cannot be augmented (its rows hold {held}): new words would leave what else "
            f"a row says behind. Rows of text, text pairs or tokens can"
        )
    return columns


def generate(
    rows: Sequence[Row],
    method: Augmenter,
    seen: Seen,
    *,
    columns: Sequence[str],
    copies: int,
    pair: Pair,
    seed: str,
    proposer: Proposer | None = None,
    done: Callable[[int], None] = lambda rows: None,
) -> Generated:
    """New rows by one method, `copies` of each row before the duplicates go; the same for the same seed.

    A pair is rewritten on one side or both: `cycle` takes first, second, both in turn, copy by copy, as Tang et al.
    do. `done` hears of rows that were worked off.
    """
    found = Generated()
    streams = [
        method.rewrite([_words(row[name]) for row in rows], copies, random.Random(f"{seed} {name}"), proposer)
        for name in columns
    ]
    for number, (row, *news) in enumerate(zip(rows, *streams, strict=True), 1):
        for new in _copies(row, columns, news, copies, pair):
            if seen.admits(new, found):
                found.rows.append(new)
                if len(found.examples) < EXAMPLES:
                    found.examples.append((_shown(row, columns), _shown(new, columns)))
        if number % _CHUNK == 0:
            done(_CHUNK)
    done(len(rows) % _CHUNK)
    return found


def _copies(row: Row, columns: Sequence[str], news: Sequence[list[Words]], copies: int, pair: Pair) -> Iterator[Row]:
    """New rows from the new words of every column; a copy that a column lacks is left out."""
    for copy in range(copies):
        chosen = [name for at, name in enumerate(columns) if len(columns) == 1 or _turn(at, copy, pair)]
        words = {name: made[copy] for name, made in zip(columns, news, strict=True) if copy < len(made)}
        if all(words.get(name) for name in chosen):
            yield {name: _column(row, name, words[name]) if name in chosen else row[name] for name in columns}


def _turn(side: int, copy: int, pair: Pair) -> bool:
    """Whether this side (0 first, 1 second) of a pair is rewritten in this copy."""
    which = ("first", "second", "both")[copy % 3] if pair == "cycle" else pair
    return which == "both" or which == ("first", "second")[side]


def _words(value: Any) -> Words:
    return value.split() if isinstance(value, str) else list(value or ())  # a pair's second text may be missing


def _column(row: Row, name: str, words: Words) -> Any:
    return " ".join(words) if isinstance(row[name], str) else words


def _shown(row: Row, columns: Sequence[str]) -> str:
    return " | ".join(" ".join(_words(row[name])) for name in columns)[:200]
