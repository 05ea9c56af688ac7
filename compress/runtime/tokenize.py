"""Texts to padded ids with the tokenizers library alone; equal to what transformers gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from compress.core.errors import InputError
from compress.runtime.folder import Carried
from compress.runtime.inputs import Input
from compress.runtime.spans import overlap

Batch = dict[str, np.ndarray]
STRIDE = 128  # of windows, where the folder does not tell


class Encoder:
    """A folder's tokenizer: cuts to `max_length` (pairs lose from the longer text first), pads to the longest."""

    def __init__(self, carried: Carried) -> None:
        path = carried.folder / "tokenizer.json"
        self.tokenizer = _open(path)
        self.tokenizer.no_padding()
        side = str(carried.tokenizer.get("truncation_side") or "right")
        self.max_length = int(carried.about["max_length"])
        self.task = carried.task
        self.shared = overlap(int(carried.option("stride", STRIDE)), self.max_length) if self.task == "answer" else 0
        if self.task == "answer":
            self._cut = {"strategy": "only_second", "stride": self.shared, "direction": side}
        else:
            self._cut = {"strategy": "longest_first", "direction": side}
        self.tokenizer.enable_truncation(self.max_length, **self._cut)
        self.inputs = tuple(carried.about["inputs"])
        self.pad_id = self._special(carried, "pad_token") or int(carried.config.get("pad_token_id") or 0)
        self.mask_id = self._special(carried, "mask_token")

    def encode(self, inputs: Sequence[Input]) -> list[Any]:
        """One `tokenizers.Encoding` for each input, cut and not padded."""
        if not inputs:
            return []
        split = inputs[0].words is not None
        encoded: list[Any] = self.tokenizer.encode_batch([one.for_tokenizer() for one in inputs], is_pretokenized=split)
        return encoded

    def parts(self, inputs: Sequence[Input]) -> list[list[Any]]:
        """All encodings of each input: the windows of a long context, both texts of a pair to embed, else one.

        Raises InputError for a question that leaves no room for its context.
        """
        if self.task == "embed":
            texts = [[Input(text) for text in (one.text, one.pair) if text is not None] for one in inputs]
            flat = iter(self.encode([text for pair in texts for text in pair]))
            return [[next(flat) for _ in pair] for pair in texts]
        if self.task == "answer":
            self._check_room(inputs)
        return [[one, *(one.overflowing if self.task == "answer" else ())] for one in self.encode(inputs)]

    def _check_room(self, inputs: Sequence[Input]) -> None:
        most = self.max_length - int(self.tokenizer.num_special_tokens_to_add(True)) - self.shared - 1
        for number, one in enumerate(inputs):
            if len(one.text.encode()) <= most:  # a token is a byte at least
                continue
            self.tokenizer.no_truncation()
            length = len(self.tokenizer.encode(one.text, add_special_tokens=False).ids)
            self.tokenizer.enable_truncation(self.max_length, **self._cut)
            if length > most:
                raise InputError(f"input {number}: the question has {length} tokens, and may have {most}; shorten it")

    def batch(self, encodings: Sequence[Any]) -> Batch:
        """`input_ids`, `attention_mask` and, if the model takes them, `token_type_ids`: `[b, s]` int64."""
        width = max(len(encoding.ids) for encoding in encodings)
        ids = np.full((len(encodings), width), self.pad_id, dtype=np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            length = len(encoding.ids)
            ids[row, :length], types[row, :length], mask[row, :length] = encoding.ids, encoding.type_ids, 1
        made = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
        return {name: made[name] for name in self.inputs}

    def token(self, index: int) -> str:
        """The token of an id."""
        return str(self.tokenizer.id_to_token(index))

    def _special(self, carried: Carried, name: str) -> int | None:
        token = carried.tokenizer.get(name)
        text = token.get("content") if isinstance(token, dict) else token
        found = self.tokenizer.token_to_id(text) if text else None
        return None if found is None else int(found)


def _open(path: Path) -> Any:
    with _plain_errors(path):
        return Tokenizer.from_file(str(path))


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    """The tokenizers library raises bare `Exception`; only exactly that is turned into an InputError."""
    try:
        yield
    except BaseException as error:
        if type(error) is Exception:
            raise InputError(f"{path}: not a tokenizer that can be read ({error}); copy the folder again") from error
        raise
