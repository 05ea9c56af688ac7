"""The student as an app holds it: load, predict, check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.artifact import read_manifest, verify
from compress.core.errors import InputError
from compress.runtime.engines.base import Engine, choose, open_engine
from compress.runtime.folder import Carried, folder_bytes, read_folder, read_json
from compress.runtime.inputs import Input, read_inputs
from compress.runtime.prediction import (
    Blanks,
    Prediction,
    Value,
    found_of,
    label_of,
    labels_of,
    softmax,
    tags_of,
    vector_of,
)
from compress.runtime.threads import threads_of
from compress.runtime.tokenize import Encoder

GOLDEN = "golden.json"
LONGEST = 30  # tokens of an answer, where the folder does not tell
_BATCH = 32
_WIDE = 512  # golden logits wider than this are kept as two numbers for each token; see `_summary`


@dataclass(frozen=True)
class Verification:
    """What `verify` found: files checked by hash, golden inputs run, and how far the outputs were off at most."""

    files: int
    inputs: int
    difference: float
    tolerance: float


class Student:
    """A loaded student. engine: what runs it (`run(batch)` for measuring it bare). encoder: its tokenizer."""

    def __init__(self, carried: Carried, engine: Engine, encoder: Encoder) -> None:
        self.carried = carried
        self.engine = engine
        self.encoder = encoder
        self.folder = carried.folder
        self.task = carried.task
        self.labels: list[str] = list(carried.about["labels"])
        self.max_length = encoder.max_length

    @classmethod
    def load(cls, folder: str | Path, engine: str = "auto", threads: int | None = None, device: str = "cpu") -> Student:
        """Load a student folder, or any plain Hugging Face folder of a task that is known.

        engine: `onnx`, `openvino`, `torch`, each with a variant if it has any (`torch:bf16`, see `engines/names.py`),
        or `auto` for the fastest that is installed and that the folder carries. threads: None takes the cores that
        this process may use. Raises InputError for whatever is wrong with the folder.
        """
        carried = read_folder(Path(folder))
        count = threads_of(threads)
        name = choose(engine, carried.about["engine"], carried.folder)
        encoder = Encoder(carried)
        return cls(carried, open_engine(name, carried.folder, carried.about, count, device), encoder)

    @property
    def info(self) -> dict[str, Any]:
        """Name, task, labels, parameters, bytes on disk, engine, dtype, threads, family and longest input."""
        about = self.carried.about
        return {
            "name": self.folder.resolve().name,
            "task": self.task,
            "labels": self.labels,
            "family": about["family"],
            "parameters": about.get("parameters", {}).get("total"),
            "bytes": folder_bytes(self.folder),
            "engine": self.engine.name,
            "dtype": self.engine.dtype,
            "threads": self.engine.threads,
            "max_length": self.max_length,
        }

    def predict(self, inputs: Sequence[Any], batch_size: int | None = None, top: int = 5) -> list[Prediction]:
        """One prediction for each input, in order. An empty list gives an empty list.

        inputs: texts, pairs `(text, text)`, rows `{"text": ..., "text_pair": ...}`; for `tag` texts or lists of words;
        for `answer` pairs (question, context) or `{"question": ..., "context": ...}`.
        batch_size: None is 32, but 1 for an int8 student, whose answer to a text would otherwise depend on the texts
        beside it (`Engine.mixes_rows`); on a CPU short texts gain little from a batch.
        top: how many tokens a `mask` student names for each blank. Raises InputError naming the first bad input.
        """
        return [prediction for prediction, _ in self.answers(inputs, batch_size, top)]

    def answers(
        self, inputs: Sequence[Any], batch_size: int | None = None, top: int = 5
    ) -> list[tuple[Prediction, np.ndarray]]:
        """What `predict` gives, each with the raw outputs that it was read from (as `logits` gives them)."""
        read = read_inputs(inputs, self.task, self.carried.pairs)
        parts = self.encoder.parts(read)
        if self.task == "mask":
            self._check_blanks([one for (one,) in parts])
        found = self._run_parts(parts, batch_size)
        return [
            (self._one(given, own, arrays, top), self._joined(arrays))
            for given, own, arrays in zip(read, parts, found, strict=True)
        ]

    def logits(self, inputs: Sequence[Any], batch_size: int | None = None) -> list[np.ndarray]:
        """Raw outputs: `[c]` for each input (classify, multilabel, regress), `[s, c]` for its tokens without padding.

        For `answer` `[s, 2]`, start and end, the windows one after the other; for `embed` the embedding `[d]`, of a
        pair `[2, d]`.
        """
        parts = self.encoder.parts(read_inputs(inputs, self.task, self.carried.pairs))
        return [self._joined(arrays) for arrays in self._run_parts(parts, batch_size)]

    def embed(self, inputs: Sequence[Any], batch_size: int | None = None) -> np.ndarray:
        """Embeddings, float32 `[n, d]`: as the task `embed` was trained to pool them, on every engine.

        For other tasks the mean of the last hidden states over real tokens; raises InputError when the engine's form
        does not give them.
        """
        read = read_inputs(inputs, self.task, self.carried.pairs)
        if self.task == "embed":
            paired = next((number for number, one in enumerate(read) if one.pair is not None), None)
            if paired is not None:
                raise InputError(f"input {paired}: expected one text to embed, came a pair; `predict` compares pairs")
            found = self._run(self.encoder.encode(read), batch_size)
            return np.stack(found) if found else np.zeros((0, 0), dtype=np.float32)
        encodings = self.encoder.encode(read)
        means: list[np.ndarray] = [np.zeros(0, dtype=np.float32)] * len(encodings)
        for rows in self._batches(encodings, batch_size):
            batch = self.encoder.batch([encodings[row] for row in rows])
            hidden, mask = self.engine.hidden(batch), batch["attention_mask"][..., None]
            for row, mean in zip(rows, (hidden * mask).sum(1) / mask.sum(1), strict=True):
                means[row] = mean.astype(np.float32)
        return np.stack(means) if means else np.zeros((0, 0), dtype=np.float32)

    def verify(self) -> Verification:
        """Check every file against its recorded hash, and the golden inputs against their recorded outputs.

        Raises InputError for a folder without a manifest, for any damage, and when an output is off by more than the
        recorded tolerance.
        """
        read_manifest(self.folder, "Model")
        files = verify(self.folder, "Model")["files"]
        path = self.folder / GOLDEN
        if not path.is_file():
            raise InputError(f"{self.folder}: has no {GOLDEN}, so its outputs cannot be checked; run its step again")
        golden = read_json(path)
        tolerance = float(golden["tolerance"])
        worst = 0.0
        for number, (logits, expected) in enumerate(
            zip(self.logits(golden["inputs"], batch_size=1), golden["outputs"], strict=True)
        ):
            off = _difference(_summary(logits), np.asarray(expected))
            if not off <= tolerance:
                raise InputError(
                    f"{path}: output {number} is off by {off:.3g} (allowed: {tolerance:.3g}); this "
                    f"machine or this {self.engine.name} computes otherwise than where it was saved. Run its step here"
                )
            worst = max(worst, off)
        return Verification(len(files), len(golden["inputs"]), worst, tolerance)

    def _run_parts(self, parts: Sequence[Sequence[Any]], batch_size: int | None) -> list[list[np.ndarray]]:
        """Logits of every encoding of each input."""
        flat = iter(self._run([encoding for own in parts for encoding in own], batch_size))
        return [[next(flat) for _ in own] for own in parts]

    def _joined(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The raw output of one input, from those of its encodings."""
        if len(arrays) == 1:
            return arrays[0]
        return np.stack(arrays) if self.task == "embed" else np.concatenate(arrays)

    def _run(self, encodings: Sequence[Any], batch_size: int | None) -> list[np.ndarray]:
        """Logits in the order given; batches hold inputs of similar length, so that little padding is computed."""
        found: list[np.ndarray] = [np.zeros(0, dtype=np.float32)] * len(encodings)
        for rows in self._batches(encodings, batch_size):
            logits = self.engine.run(self.encoder.batch([encodings[row] for row in rows]))
            for row, one in zip(rows, logits, strict=True):
                found[row] = one[: len(encodings[row].ids)] if one.ndim > 1 else one
        return found

    def _batches(self, encodings: Sequence[Any], batch_size: int | None) -> list[list[int]]:
        """Row numbers in batches of similar length, the longest first, so that memory peaks at once."""
        size = (1 if self.engine.mixes_rows else _BATCH) if batch_size is None else batch_size
        if size < 1:
            raise InputError(f"batch_size: expected a whole number from 1, came {size}")
        order = sorted(range(len(encodings)), key=lambda row: -len(encodings[row].ids))
        return [order[at : at + size] for at in range(0, len(order), size)]

    def _one(self, given: Input, parts: Sequence[Any], arrays: Sequence[np.ndarray], top: int) -> Prediction:
        if self.task == "answer":
            windows = [(array, one.sequence_ids, one.offsets) for one, array in zip(parts, arrays, strict=True)]
            return found_of(given.pair or "", windows, int(self.carried.option("longest", LONGEST)))
        if self.task == "embed":
            return vector_of(self._joined(arrays))
        (encoding,), (logits,) = parts, arrays
        if self.task == "classify":
            return label_of(logits, self.labels)
        if self.task == "multilabel":
            return labels_of(logits, self.labels)
        if self.task == "regress":
            return Value(float(logits[0]))
        if self.task == "tag":
            return tags_of(_first_tokens(encoding, logits), self.labels, given.words or (), given.offsets)
        blanks = [row for row, token in zip(logits, encoding.ids, strict=True) if token == self.encoder.mask_id]
        return Blanks(tuple(self._likely(row, top) for row in blanks))

    def _likely(self, logits: np.ndarray, top: int) -> dict[str, float]:
        shares = softmax(logits)
        return {self.encoder.token(int(token)): float(shares[token]) for token in np.argsort(-shares)[:top]}

    def _check_blanks(self, encodings: Sequence[Any]) -> None:
        for number, encoding in enumerate(encodings):
            if self.encoder.mask_id not in encoding.ids:
                token = self.carried.tokenizer.get("mask_token", "[MASK]")
                raise InputError(f"input {number}: has no {token} (within {self.max_length} tokens) to be filled")


def _first_tokens(encoding: Any, logits: np.ndarray) -> dict[int, np.ndarray]:
    """Logits of each word's first token, by the word's number."""
    first: dict[int, np.ndarray] = {}
    for place, word in enumerate(encoding.word_ids):
        if word is not None and word not in first:
            first[word] = logits[place]
    return first


def _summary(logits: np.ndarray) -> np.ndarray:
    """The form of golden outputs: whole, or for a vocabulary its largest and mean logit for each token."""
    if logits.ndim < 2 or logits.shape[-1] <= _WIDE:
        return logits
    return np.stack([logits.max(-1), logits.mean(-1)], axis=-1)


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found.astype(np.float64) - expected).max(initial=0.0))
