"""What a user gives to a student, checked: a text, a pair of texts, or a list of words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compress.core.errors import InputError

_WORD = re.compile(r"\S+")
_SHAPES = {
    "tag": 'a text, a list of words or {"tokens": [...]}',
    "mask": 'a text or {"text": ...}',
    "answer": 'a pair (question, context) or {"question": ..., "context": ...}',
    "embed": 'a text, a pair (text, text) to compare or {"text": ..., "text_pair": ...}',
    "": 'a text, a pair (text, text) or {"text": ..., "text_pair": ...}',
}


@dataclass(frozen=True)
class Input:
    """One input. words: for `tag`, with the characters of each when they came from a text.

    For `answer` the question is `text` and the context `pair`.
    """

    text: str = ""
    pair: str | None = None
    words: tuple[str, ...] | None = None
    offsets: tuple[tuple[int, int], ...] | None = None

    def for_tokenizer(self) -> Any:
        """The form that the tokenizers library takes."""
        if self.words is not None:
            return list(self.words)
        return self.text if self.pair is None else (self.text, self.pair)


def read_inputs(values: Sequence[Any], task: str, pairs: bool | None) -> list[Input]:
    """Check every input. pairs: whether the student was trained on pairs (None: not known).

    Raises InputError with the number of the first bad input.
    """
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__iter__"):
        raise InputError(f"expected a list of inputs, came {_came(values)}; write predict([...])")
    reader = {"tag": _tagged, "answer": _asked}.get(task)
    read = [
        _text(value, number, task) if reader is None else reader(value, number) for number, value in enumerate(values)
    ]
    for number, one in enumerate(read):
        if pairs is True and one.pair is None:
            raise InputError(f"input {number}: expected a pair (text, text), since the student was trained on pairs")
        if pairs is False and one.pair is not None:
            raise InputError(f"input {number}: expected one text, came a pair; the student was trained on single texts")
    return read


def _text(value: Any, number: int, task: str) -> Input:
    if isinstance(value, Mapping):
        unknown = set(value) - {"text", "text_pair"}
        if unknown or "text" not in value:
            raise InputError(
                f"input {number}: expected {_SHAPES['']}, came keys {', '.join(map(str, value)) or 'none'}"
            )
        value = value["text"] if value.get("text_pair") is None else (value["text"], value["text_pair"])
    if isinstance(value, (tuple, list)) and len(value) == 2 and task != "mask":
        return Input(_checked(value[0], number, "the first text"), _checked(value[1], number, "the second text"))
    if not isinstance(value, str):
        raise InputError(f"input {number}: expected {_SHAPES.get(task, _SHAPES[''])}, came {_came(value)}")
    return Input(_checked(value, number, "the text"))


def _asked(value: Any, number: int) -> Input:
    if isinstance(value, Mapping):
        if set(value) != {"question", "context"}:
            raise InputError(
                f"input {number}: expected {_SHAPES['answer']}, came keys {', '.join(map(str, value)) or 'none'}"
            )
        value = value["question"], value["context"]
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InputError(f"input {number}: expected {_SHAPES['answer']}, came {_came(value)}")
    return Input(_checked(value[0], number, "the question"), _checked(value[1], number, "the context"))


def _tagged(value: Any, number: int) -> Input:
    if isinstance(value, Mapping):
        if set(value) not in ({"tokens"}, {"text"}):
            raise InputError(
                f"input {number}: expected {_SHAPES['tag']}, came keys {', '.join(map(str, value)) or 'none'}"
            )
        (value,) = value.values()
    if isinstance(value, str):
        text = _checked(value, number, "the text")
        found = list(_WORD.finditer(text))
        words, offsets = tuple(word.group() for word in found), tuple(word.span() for word in found)
        return Input(text, words=words, offsets=offsets)
    if not isinstance(value, (list, tuple)):
        raise InputError(f"input {number}: expected {_SHAPES['tag']}, came {_came(value)}")
    if not any(isinstance(word, str) and word.strip() for word in value):
        raise InputError(f"input {number}: the list of words is empty")
    # A blank word among others gets no label, but its neighbours keep their places.
    return Input(words=tuple(_checked(word, number, f"word {at}", blank=True) for at, word in enumerate(value)))


def _checked(value: Any, number: int, what: str, blank: bool = False) -> str:
    if not isinstance(value, str):
        raise InputError(f"input {number}: {what} should be a str, came {_came(value)}")
    if not blank and not value.strip():
        raise InputError(f"input {number}: {what} is empty")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"input {number}: {what} is not valid Unicode ({error.reason})") from error
    return value


def _came(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"[:60]
