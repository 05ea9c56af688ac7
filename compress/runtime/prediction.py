"""What a student says about one input; one class for each kind of task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compress.runtime.spans import best_span, characters

THRESHOLD = 0.5


@dataclass(frozen=True)
class Label:
    """classify: the most probable label, its probability, and the probability of every label."""

    label: str
    score: float
    scores: dict[str, float]


@dataclass(frozen=True)
class Value:
    """regress: the predicted number, on the scale of the training scores."""

    value: float


@dataclass(frozen=True)
class Span:
    """A run of words with one meaning, such as an entity.

    words: first word and the word after the last. start, end: characters of the text, when a text was given.
    score: the mean probability of its words' tags.
    """

    label: str
    words: tuple[int, int]
    text: str
    score: float
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class Tags:
    """tag: a label and its probability for each word (None past the longest input), and spans for BIO labels."""

    words: tuple[str, ...]
    labels: tuple[str | None, ...]
    scores: tuple[float | None, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Blanks:
    """mask: for each mask token in the text, the most probable tokens with their probabilities."""

    tokens: tuple[dict[str, float], ...]


@dataclass(frozen=True)
class Labels:
    """multilabel: the labels with a probability above one half, the likeliest first, and all probabilities."""

    labels: tuple[str, ...]
    scores: dict[str, float]


@dataclass(frozen=True)
class Found:
    """answer: the likeliest answer in the context. start, end: its first character and the one after its last.

    score: its probability in the window that it was found in, against other spans and against "not in this window".
    """

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Vector:
    """embed: the embedding of a text."""

    vector: tuple[float, ...]


@dataclass(frozen=True)
class Similarity:
    """embed: the cosine of the embeddings of two texts, from -1 to 1."""

    similarity: float


Prediction = Label | Labels | Value | Tags | Blanks | Found | Vector | Similarity


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


def label_of(logits: np.ndarray, labels: Sequence[str]) -> Label:
    """Logits `[c]` as a label."""
    shares = softmax(logits)
    best = int(shares.argmax())
    return Label(labels[best], float(shares[best]), {name: float(p) for name, p in zip(labels, shares, strict=True)})


def labels_of(logits: np.ndarray, labels: Sequence[str]) -> Labels:
    """Logits `[c]`, each label by itself."""
    shares = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -500, 500)))
    scores = {name: float(p) for name, p in zip(labels, shares, strict=True)}
    said = sorted((name for name, p in scores.items() if p > THRESHOLD), key=lambda name: -scores[name])
    return Labels(tuple(said), scores)


def found_of(
    context: str, windows: Sequence[tuple[np.ndarray, Sequence[int | None], Sequence[tuple[int, int]]]], longest: int
) -> Found:
    """The best answer of all windows, each with logits `[s, 2]`, the sequence and the characters of every token."""
    spans = []
    for logits, sequences, offsets in windows:
        best = best_span(logits, np.array([sequence == 1 for sequence in sequences]), longest)
        spans.append((best.score, *characters(best, offsets)))
    score, start, end = max(spans, key=lambda span: span[0])
    return Found(context[start:end], start, end, float(np.exp(score)))


def vector_of(embeddings: np.ndarray) -> Vector | Similarity:
    """The embedding `[d]` of a text, or those of two `[2, d]`."""
    if embeddings.ndim == 1:
        return Vector(tuple(map(float, embeddings)))
    one, two = embeddings.astype(np.float64)
    return Similarity(float(one @ two / max(float(np.linalg.norm(one) * np.linalg.norm(two)), 1e-12)))


def tags_of(
    logits: Mapping[int, np.ndarray],
    labels: Sequence[str],
    words: Sequence[str],
    offsets: Sequence[tuple[int, int]] | None,
) -> Tags:
    """Logits `[c]` of the words that the model saw, by their number, as tags. offsets: characters of each word."""
    shares = {word: softmax(row) for word, row in logits.items()}
    best = {word: int(row.argmax()) for word, row in shares.items()}
    tags = tuple(labels[best[word]] if word in best else None for word in range(len(words)))
    scores = tuple(float(shares[word][best[word]]) if word in best else None for word in range(len(words)))
    return Tags(tuple(words), tags, scores, tuple(_spans(words, tags, scores, offsets)))


def _spans(
    words: Sequence[str],
    tags: Sequence[str | None],
    scores: Sequence[float | None],
    offsets: Sequence[tuple[int, int]] | None,
) -> list[Span]:
    spans: list[Span] = []
    for kind, first, after in _runs(tags):
        inside = [score for score in scores[first:after] if score is not None]
        edges = (None, None) if offsets is None else (offsets[first][0], offsets[after - 1][1])
        text = " ".join(words[first:after])
        spans.append(Span(kind, (first, after), text, sum(inside) / len(inside), *edges))
    return spans


def _runs(tags: Sequence[str | None]) -> list[tuple[str, int, int]]:
    """(kind, first word, word after the last) of BIO tags; an I- of another kind begins a run, as seqeval reads it."""
    runs: list[tuple[str, int, int]] = []
    for place, tag in enumerate(tags):
        mark, _, kind = (tag or "O").partition("-")
        if mark not in ("B", "I") or not kind:
            continue
        last = runs[-1] if runs else ("", -1, -1)
        if mark == "I" and last[0] == kind and last[2] == place:
            runs[-1] = (kind, last[1], place + 1)
        else:
            runs.append((kind, place, place + 1))
    return runs
