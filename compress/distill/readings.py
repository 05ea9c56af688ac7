"""How a tokenizer reads a row: every token with the characters that it stands for.

Tasks tokenize rows in their own ways (pairs, words given one by one). `Recorder` stands in for the tokenizer, notes
what every call gave, and so keeps the offsets that the tasks' features do not carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from compress.core.errors import InputError
from compress.tasks.base import Task
from compress.tasks.features import Feature, encode_rows

CHUNK = 512


@dataclass
class Reading:
    """One row under one tokenizer; every list runs over its tokens.

    starts, ends: the characters `[start, end)` of a token on one axis: the texts of a pair, and words that were given
    one by one, stand behind each other with a space between. Blanks around a token's characters are taken off, since
    byte-level and SentencePiece tokens count the space before a word and WordPiece does not. roles: empty for a token
    of the text, else what a special token is for and where it stands. words: the word of a token where words were
    given one by one, else -1. known: false for the unknown token. bounds: where each text begins and ends.
    row: which row it is; a row that is read in windows has several readings.
    """

    text: str
    bounds: list[tuple[int, int]]
    row: int = 0
    ids: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    known: list[bool] = field(default_factory=list)

    def reach(self) -> tuple[int, int]:
        """The characters of the last text, from the first to the last that a token has."""
        begin, end = self.bounds[-1]
        places = [place for place in zip(self.starts, self.ends, strict=True) if begin <= place[0] < end]
        return (places[0][0], max(last for _, last in places)) if places else (begin, begin)


class Recorder:
    """A fast tokenizer that remembers the readings of each of its `calls`, and is otherwise the tokenizer itself."""

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise InputError(
                "a teacher and a student with different tokenizers are aligned by character offsets, which only fast "
                "tokenizers (tokenizer.json) give; convert this one first"
            )
        self._tokenizer = tokenizer
        self._roles = _roles(tokenizer)
        self.calls: list[list[Reading]] = []

    def __call__(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        """Tokenize as the tokenizer does, and note the offsets."""
        encoded = self._tokenizer(text, text_pair, **options)
        split = bool(options.get("is_split_into_words"))
        single = isinstance(text, str) or (split and isinstance(text[0], str))
        first, second = ([text], [text_pair]) if single else (text, text_pair)
        rows = encoded.get("overflow_to_sample_mapping", range(len(encoded.encodings)))
        call = []
        for encoding, row in zip(encoded.encodings, rows, strict=True):
            call.append(self._reading(encoding, first[row], None if second is None else second[row], split))
            call[-1].row = int(row)
        self.calls.append(call)
        return encoded

    def __len__(self) -> int:
        return len(self._tokenizer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def _reading(self, encoding: Any, first: Any, second: Any, split: bool) -> Reading:
        one, bases = _axis(first, split, 0)
        two, more = ("", [0]) if second is None else _axis(second, split, len(one) + 1)
        ends = [(0, len(one))] if second is None else [(0, len(one)), (len(one) + 1, len(one) + 1 + len(two))]
        reading = Reading(one if second is None else f"{one} {two}", ends)
        passed = 0
        for number, (start, end), side, word in zip(
            encoding.ids, encoding.offsets, encoding.sequence_ids, encoding.word_ids, strict=True
        ):
            reading.ids.append(number)
            if side is None:
                role = self._roles.get(number, "other")
                _put(reading, -1, -1, role if role == "start" else f"{role} {passed}", -1, True)
                continue
            passed = side + 1
            base = (bases, more)[side][word if split else 0]
            start, end = _trimmed(reading.text, start + base, end + base)
            known = self._roles.get(number) != "unknown"
            _put(reading, start, end, "", word if split and side == 0 else -1, known)
        return reading


def read_rows(
    task: Task, tokenizer: Any, rows: Sequence[Mapping[str, Any]], max_length: int
) -> Iterator[list[tuple[Feature, list[Reading]]]]:
    """For each row its features with their readings: one feature, or several for a row that is read in windows.

    A feature has one reading for each row that it gives a batch: two for a pair of texts that are embedded apart.
    Raises InputError for a task whose features are not the texts that it tokenizes.
    """
    recorder = Recorder(tokenizer)
    for start in range(0, len(rows), CHUNK):  # the library's encodings are large, and no longer needed afterwards
        recorder.calls.clear()
        features = encode_rows(task, recorder, rows[start : start + CHUNK], max_length)
        held = _held(features, recorder.calls)
        if held is None:
            raise InputError(
                f"the features of the task {task.registered_name} are not the texts that it tokenizes, so the tokens "
                f"of two tokenizers cannot be aligned; use losses on outputs or embeddings"
            )
        by_row: dict[int, list[tuple[Feature, list[Reading]]]] = {}
        for feature, readings in zip(features, held, strict=True):
            by_row.setdefault(readings[0].row, []).append((feature, readings))
        yield from (by_row.get(row, []) for row in range(len(rows[start : start + CHUNK])))


def _held(features: Sequence[Feature], calls: Sequence[Sequence[Reading]]) -> list[list[Reading]] | None:
    """The readings of each feature: its own, and that of its second text where it has one."""
    first = _call_of([list(feature["input_ids"]) for feature in features], calls)
    if first is None:
        return None
    pairs = [at for at, feature in enumerate(features) if feature.get("second") is not None]
    held = [[reading] for reading in first]
    if pairs:
        second = _call_of([list(features[at]["second"]) for at in pairs], calls)
        if second is None:
            return None
        for at, reading in zip(pairs, second, strict=True):
            held[at].append(reading)
    return held


def _call_of(wanted: list[list[int]], calls: Sequence[Sequence[Reading]]) -> Sequence[Reading] | None:
    """The readings of the call that gave these ids. A task may also tokenize to look at something else."""
    return next((call for call in reversed(calls) if [reading.ids for reading in call] == wanted), None)


def _roles(tokenizer: Any) -> dict[int, str]:
    """Id to role. `<s>` is a start whether it is called CLS or BOS, and `</s>` an end whether SEP or EOS."""
    names = (
        ("unknown", tokenizer.unk_token_id),
        ("end", tokenizer.eos_token_id), ("end", tokenizer.sep_token_id),
        ("start", tokenizer.bos_token_id), ("start", tokenizer.cls_token_id),
    )  # fmt: skip
    return {number: role for role, number in names if number is not None}


def _axis(text: Any, split: bool, base: int) -> tuple[str, list[int]]:
    """A text, or its words behind each other, and where each of them begins."""
    if not split:
        return str(text), [base]
    bases = []
    for word in text:
        bases.append(base)
        base += len(word) + 1
    return " ".join(text), bases


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The characters without the blanks around them; blanks alone stay as they are."""
    one, two = start, end
    while one < two and text[one].isspace():
        one += 1
    while one < two and text[two - 1].isspace():
        two -= 1
    return (one, two) if one < two else (start, end)


def _put(reading: Reading, start: int, end: int, role: str, word: int, known: bool) -> None:
    reading.starts.append(start)
    reading.ends.append(end)
    reading.roles.append(role)
    reading.words.append(word)
    reading.known.append(known)
