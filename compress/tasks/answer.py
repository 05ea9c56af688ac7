"""Extractive question answering: the run of a context's characters that answers a question (SQuAD v1.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from compress.core.errors import InputError
from compress.runtime.engines.torch_output import raw_output
from compress.runtime.spans import Best, best_span, characters, overlap
from compress.tasks.base import TASKS, Features, Row, Task
from compress.tasks.batch import IGNORED, at_once, finite, gather, pad, text_of
from compress.tasks.squad_metric import judged

FILL = -1e4  # as a logit: far below every real one, and finite in every number format


@TASKS.register("answer")
class Answer(Task):
    """Start and end of an answer among the tokens of its context. Metrics: F1 and exact match as SQuAD defines them.

    A context that is too long is read in overlapping windows, so that a row may give several features; a window
    without the answer has the first token ([CLS]) as its label. Every context must hold its answer.
    """

    auto_class: ClassVar[str] = "AutoModelForQuestionAnswering"
    output: ClassVar[str] = "span"
    token_level: ClassVar[bool] = True
    fill: ClassVar[float] = FILL
    metric: ClassVar[str] = "f1"

    question: str = Field("question", description="column of the question")
    context: str = Field("context", description="column of the text that holds the answer")
    answers: str = Field(
        "answers", description="column of the right answers: a list of {text, answer_start}, or lists of both"
    )
    stride: int = Field(
        128, ge=0, description="tokens that windows of a long context share; at most a quarter of max_length"
    )
    longest: int = Field(30, ge=1, le=512, description="most tokens in an answer")

    def sources(self) -> dict[str, str]:
        """Normalised column to source column."""
        return {"question": self.question, "context": self.context, "answers": self.answers}

    def label_values(self, row: Row) -> list[Any]:
        """None: an answer is no label."""
        return []

    def normalise(self, row: Row, index: Mapping[Any, int]) -> dict[str, Any]:
        """`question`, `context`, and `answers` as a list of `{text, answer_start}`. Raises ValueError otherwise.

        A row without the answer column stays without (unlabelled text).
        """
        out: dict[str, Any] = {"question": text_of(row, self.question), "context": text_of(row, self.context)}
        if self.answers in row:
            out["answers"] = _answers(row[self.answers], out["context"], self.answers)
        return out

    def encode(self, tokenizer: Any, rows: Mapping[str, Sequence[Any]], max_length: int) -> Features:
        """Windows of each row: token ids, the context's first token and the one after it (`inside`), `row`, and what a
        span needs to become a text.

        `labels` are start and end token, (0, 0) for a window without the answer, -100 for a row without answers.
        Raises InputError for a question that leaves no room for the context, and for a slow tokenizer.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise InputError("the task answer needs a fast tokenizer (tokenizer.json); this one tells no characters")
        questions, contexts = list(rows["question"]), list(rows["context"])
        shared = overlap(self.stride, max_length)
        self._check_room(tokenizer, questions, max_length, shared)
        features: Features = {}
        more: dict[str, list[Any]] = {}
        for some in at_once(len(questions)):
            encoded = tokenizer(
                questions[some], contexts[some], truncation="only_second", max_length=max_length, stride=shared,
                return_overflowing_tokens=True, return_offsets_mapping=True, padding=False,
            )  # fmt: skip
            gather(features, encoded)
            for name, values in _windows(encoded, some.start).items():
                more.setdefault(name, []).extend(values)
        more["context"] = [contexts[row] for row in more["row"]]
        answers = rows.get("answers") or [None] * len(questions)
        more["answers"] = [answers[row] for row in more["row"]]
        if any(one is not None for one in answers):
            windows = zip(more["answers"], more["offsets"], more["inside"], strict=True)
            more["labels"] = [_positions(*window) for window in windows]
        return {**features, **more}

    def _check_room(self, tokenizer: Any, questions: list[str], max_length: int, shared: int) -> None:
        most = max_length - int(tokenizer.num_special_tokens_to_add(pair=True)) - shared - 1
        asked = [
            len(ids)
            for some in at_once(len(questions))
            for ids in tokenizer(questions[some], add_special_tokens=False, padding=False, truncation=False)[
                "input_ids"
            ]
        ]
        for row, tokens in enumerate(asked):
            if tokens > most:
                raise InputError(
                    f"row {row + 1}: the question has {tokens} tokens; with max_length {max_length} and windows that "
                    f"share {shared} a question may have {most}. Raise max_length, or shorten the question"
                )

    def collate(
        self, features: Sequence[Mapping[str, Any]], pad_id: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """A batch padded to its longest window; `outputs` `[b, 2]`, `labels` `[b, 2]` and `allowed` `[b, s]`."""
        batch = pad(features, pad_id)
        batch["outputs"] = torch.ones(len(features), 2, dtype=torch.bool)
        first, after = torch.tensor([row["inside"] for row in features]).unbind(-1)
        place = torch.arange(batch["input_ids"].shape[1])[None, :]
        batch["allowed"] = ((place >= first[:, None]) & (place < after[:, None])) | (place == 0)
        if any(row.get("labels") is not None for row in features):
            known = [row.get("labels") or (IGNORED, IGNORED) for row in features]
            batch["labels"] = torch.tensor([list(one) for one in known], dtype=torch.long)
        return batch

    def hard_loss(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> Tensor:
        """Cross-entropy of logits `[b, 2, s]` and positions `[b, 2]`, mean over labelled windows; 0 for none."""
        counted = outputs & (labels >= 0)
        if not counted.any():
            return logits.sum() * 0.0
        return functional.cross_entropy(logits[counted].float(), labels[counted])

    def read(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits `[b, 2, s]`: start and end over the tokens of the context and the first token."""
        return self.arrange(raw_output(outputs), batch)

    def arrange(self, raw: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """`[b, s, 2]` as `[b, 2, s]`, with a large negative number where no answer can stand.

        Both models of a distillation get the same number there, so that no difference comes from it.
        """
        return raw.transpose(1, 2).masked_fill(~batch["allowed"][:, None, :].to(raw.device), FILL)

    def flatten(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """`[b, 3]`: log-probability, first and last token of the best span of each window; labels `[b, 2]`."""
        found = []
        for window in logits.detach().float().cpu().numpy():
            allowed = window[0] > FILL / 2
            allowed[0] = False
            best = best_span(window.T, allowed, self.longest) if np.isfinite(window).all() else Best(np.nan, 0, 0)
            found.append([best.score, best.start, best.end])
        return np.array(found, dtype=np.float64).reshape(-1, 3), labels.cpu().numpy()

    def by_row(
        self, features: Sequence[Mapping[str, Any]], outputs: Sequence[np.ndarray], labels: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """For each row the best of its windows, judged as `judge` does."""
        rows: dict[int, Mapping[str, Any]] = {}
        best: dict[int, tuple[float, int, int]] = {}
        for feature, found in zip(features, outputs, strict=True):
            one = Best(float(found[0, 0]), int(found[0, 1]), int(found[0, 2]))
            row = int(feature["row"])
            rows[row] = feature
            # A window of NaN wins and stays, so that `score` refuses it.
            if row not in best or (not np.isnan(best[row][0]) and not one.score <= best[row][0]):
                best[row] = (one.score, *characters(one, feature["offsets"]))
        spans = [np.array([best[row][1:] if np.isfinite(best[row][0]) else (np.nan, np.nan)]) for row in best]
        return self.judge([rows[row] for row in best], spans)

    def judge(self, rows: Sequence[Row], outputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """`[1, 4]` for each row: exact match, F1, and the characters `[1, 2]` that were said; the truth is the F1 of
        answering with the whole context."""
        found, whole = [], []
        for row, span in zip(rows, outputs, strict=True):
            texts = [answer["text"] for answer in row["answers"]]
            edges = [float(one) for one in np.asarray(span).reshape(-1)[:2]]
            marks = (np.nan, np.nan) if np.isnan(edges).any() else judged(_cut(row["context"], edges), texts)
            found.append(np.array([[*marks, *edges]], dtype=np.float64))
            whole.append(np.array([judged(row["context"], texts)[1]], dtype=np.float64))
        return found, whole

    def score(self, logits: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
        """`f1` and `exact`, means over the rows of what `by_row` gave. Raises JobError for NaN."""
        marks = finite(logits, "outputs")
        return {"f1": float(marks[:, 1].mean()), "exact": float(marks[:, 0].mean())}

    def chance(self, labels: np.ndarray) -> float:
        """F1 of answering every question with its whole context."""
        return float(labels.mean())


def _windows(encoded: Any, first: int) -> dict[str, list[Any]]:
    """Where each window is from. first: the number of the first row.

    Offsets as arrays: as Python numbers, or left in the tokenizer's own objects, those of a whole SQuAD take gigabytes.
    """
    rows = [first + int(row) for row in encoded["overflow_to_sample_mapping"]]
    return {
        "row": rows,
        "inside": [_inside(encoded.sequence_ids(at)) for at in range(len(rows))],
        "offsets": [np.asarray(window, dtype=np.int32) for window in encoded["offset_mapping"]],
    }


def _inside(sequences: Sequence[int | None]) -> tuple[int, int]:
    """The first token of the second text, and the one after its last; (0, 0) when there is none."""
    tokens = [at for at, sequence in enumerate(sequences) if sequence == 1]
    return (tokens[0], tokens[-1] + 1) if tokens else (0, 0)


def _cut(context: str, edges: Sequence[float]) -> str:
    return context[int(edges[0]) : int(edges[1])]


def _answers(value: Any, context: str, column: str) -> list[dict[str, Any]]:
    """Right answers as a list of `{text, answer_start}`, each proven to stand where it says."""
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start")
        if not isinstance(texts, (list, tuple)) or not isinstance(starts, (list, tuple)) or len(texts) != len(starts):
            raise ValueError(f"column {column!r}: expected `text` and `answer_start`, lists of one length")
        value = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"column {column!r}: expected a list of {{text, answer_start}}, came {type(value).__name__}")
    if not value:
        raise ValueError(
            f"column {column!r}: no answer; questions that have none (SQuAD v2) are not for this task; leave such rows "
            "out, or read SQuAD's files by {squad: {path: FOLDER, unanswered: drop}}"
        )
    return [_answer(one, context, column) for one in value]


def _answer(value: Any, context: str, column: str) -> dict[str, Any]:
    text, start = (value.get("text"), value.get("answer_start")) if isinstance(value, Mapping) else (None, None)
    if not isinstance(text, str) or not text.strip() or not isinstance(start, int) or isinstance(start, bool):
        raise ValueError(f"column {column!r}: expected {{text, answer_start}}, came {value!r}"[:160])
    stands = context[start : start + len(text)] if start >= 0 else ""
    if stands != text:
        raise ValueError(
            f"column {column!r}: the answer {text!r:.60} does not stand at character {start} of the context, "
            f"{stands!r:.60} does"
        )
    return {"text": text, "answer_start": start}


def _positions(answers: Sequence[Mapping[str, Any]] | None, offsets: np.ndarray, inside: tuple[int, int]) -> list[int]:
    """First and last token of the first answer in a window; (0, 0) when the window does not hold all of it."""
    if not answers:
        return [IGNORED, IGNORED]
    first = int(answers[0]["answer_start"])
    after = first + len(answers[0]["text"])
    starts, ends = offsets[slice(*inside)].T
    if not len(starts) or starts[0] > first or ends[-1] < after:
        return [0, 0]
    start = int(np.flatnonzero(starts <= first)[-1])
    end = start + int(np.flatnonzero(ends[start:] >= after)[0])
    return [inside[0] + start, inside[0] + end]
