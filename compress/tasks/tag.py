"""One label for every word: entities, chunks, parts of speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from seqeval.metrics import f1_score as span_f1
from seqeval.metrics import precision_score as span_precision
from seqeval.metrics import recall_score as span_recall
from sklearn.metrics import precision_recall_fscore_support
from torch import Tensor
from torch.nn import functional

from compress.core.errors import InputError
from compress.tasks.base import TASKS, Features, Row, Task
from compress.tasks.batch import IGNORED, at_once, finite, gather, label_of, labelled, pad, padded
from compress.tasks.ragged import SMALL, Ragged


@TASKS.register("tag")
class Tag(Task):
    """Token classification aligned to words: a word is judged by its first sub-token.

    Metric: F1 over spans (seqeval) for BIO tags, macro F1 over words for others. Words that `max_length` cut away, or
    that the tokenizer drops, count as wrong in `accuracy`, and `cut` is their share.
    """

    auto_class: ClassVar[str] = "AutoModelForTokenClassification"
    output: ClassVar[str] = "classes"
    token_level: ClassVar[bool] = True
    metric: ClassVar[str] = "f1"

    tokens: str = Field("tokens", description="column of the words, a list of texts")
    tags: str = Field("tags", description="column of the tags, one name or number for each word")

    def sources(self) -> dict[str, str]:
        """Normalised column to source column."""
        return {"tokens": self.tokens, "tags": self.tags}

    def label_values(self, row: Row) -> list[Any]:
        """The raw tags of a source row."""
        values = row[self.tags]
        return list(values) if isinstance(values, (list, tuple, np.ndarray)) else [values]

    def normalise(self, row: Row, index: Mapping[Any, int]) -> dict[str, Any]:
        """`tokens` and, when the row has them, `tags` as indices. Raises ValueError when they do not fit together."""
        words = _words(row.get(self.tokens), self.tokens)
        if self.tags not in row:
            return {"tokens": words}
        tags = [label_of(value, self.tags, index) for value in self.label_values(row)]
        if len(tags) != len(words):
            raise ValueError(f"{len(words)} words in {self.tokens!r} and {len(tags)} tags in {self.tags!r}")
        return {"tokens": words, "tags": tags}

    def encode(self, tokenizer: Any, rows: Mapping[str, Sequence[Any]], max_length: int) -> Features:
        """Token ids, `labels` (one for each token, -100 where no word begins) and how many words were `cut`.

        Raises InputError for a tokenizer that cannot tell which word a token came from.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise InputError("the task tag needs a fast tokenizer (tokenizer.json); this one cannot align words")
        words = [list(row) for row in rows["tokens"]]
        features: Features = {}
        begins: list[list[int | None]] = []
        for some in at_once(len(words)):
            encoded = tokenizer(
                words[some], is_split_into_words=True, truncation=True, max_length=max_length, padding=False
            )
            gather(features, encoded)
            begins += [_begins(encoded.word_ids(row)) for row in range(len(words[some]))]
        features["begins"] = Ragged(([int(word is not None) for word in row] for row in begins), SMALL)
        features["cut"] = [
            len(text) - sum(word is not None for word in row) for text, row in zip(words, begins, strict=True)
        ]
        if "tags" in rows:
            features["labels"] = Ragged(
                [IGNORED if word is None else int(tags[word]) for word in row]
                for tags, row in zip(rows["tags"], begins, strict=True)
            )
        return features

    def collate(
        self, features: Sequence[Mapping[str, Any]], pad_id: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """A batch padded to its longest row; `outputs` `[b, s]` marks the first sub-token of each word.

        `labels` hold -100 elsewhere; the last such place of a row holds -100 less its cut words, for `score`.
        """
        batch = pad(features, pad_id)
        width = batch["input_ids"].shape[1]
        batch["outputs"] = padded([row["begins"] for row in features], width, 0).bool()
        if "labels" in features[0]:
            batch["labels"] = padded([_with_cut(row) for row in features], width, IGNORED)
        return batch

    def hard_loss(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> Tensor:
        """Cross-entropy of logits `[b, s, c]` at the words' first sub-tokens, mean over labelled words; 0 for none."""
        counted = outputs & labelled(labels)
        if not counted.any():
            return logits.sum() * 0.0
        return functional.cross_entropy(logits[counted].float(), labels[counted])

    def flatten(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Logits `[n, c]` of the words, and labels `[n, 2]`: the tag, and 1 + cut words where a text begins, else 0."""
        cut = (IGNORED - labels).clamp(min=0).sum(-1)
        first = outputs & (outputs.cumsum(-1) == 1)
        starts = first * (1 + cut)[:, None]
        pairs = torch.stack([labels[outputs], starts[outputs]], dim=-1)
        return logits[outputs].detach().float().cpu().numpy(), pairs.cpu().numpy()

    def score(self, logits: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
        """`f1`, `precision`, `recall`, `accuracy` and `cut`, from what `flatten` gave. Raises JobError for NaN."""
        predicted, truth, starts = finite(logits, "logits").argmax(-1), labels[:, 0], labels[:, 1]
        lost = int((starts - 1).clip(min=0).sum())
        total = len(truth) + lost
        scores = {"accuracy": float((predicted == truth).sum() / total), "cut": lost / total}
        if is_bio(names):
            edges = np.flatnonzero(starts)[1:]
            said, true = ([[names[i] for i in part] for part in np.split(tags, edges)] for tags in (predicted, truth))
            precision, recall, f1 = (
                float(measure(true, said, zero_division=0)) for measure in (span_precision, span_recall, span_f1)
            )
        else:
            precision, recall, f1, _ = precision_recall_fscore_support(
                truth, predicted, average="macro", zero_division=0.0
            )
        return {"f1": float(f1), "precision": float(precision), "recall": float(recall), **scores}

    def chance(self, labels: np.ndarray) -> float:
        """Macro F1 of always saying the most frequent tag (spans of one constant tag are hardly ever right)."""
        counts = np.bincount(labels[:, 0])
        share = counts.max() / counts.sum()
        return float(2 * share / (1 + share) / np.count_nonzero(counts))


def is_bio(names: Sequence[str]) -> bool:
    """Whether every tag is `O`, `B-X` or `I-X`, and at least one begins a span."""
    return all(name == "O" or name[:2] in ("B-", "I-") for name in names) and any(name[:2] == "B-" for name in names)


def _words(value: Any, column: str) -> list[str]:
    if not isinstance(value, (list, tuple, np.ndarray)) or not all(isinstance(word, str) for word in value):
        raise ValueError(f"column {column!r}: expected a list of words, came {type(value).__name__} {value!r}"[:120])
    if not len(value):
        raise ValueError(f"column {column!r}: the list of words is empty")
    return list(value)


def _begins(word_ids: Sequence[int | None]) -> list[int | None]:
    """The word at its first sub-token, None at every other token."""
    before = [None, *word_ids[:-1]]
    return [word if word != last else None for word, last in zip(word_ids, before, strict=True)]


def _with_cut(row: Mapping[str, Any]) -> list[int]:
    labels = list(row["labels"])
    free = [place for place, begins in enumerate(row["begins"]) if not begins]
    if row["cut"] and free:
        labels[free[-1]] = IGNORED - int(row["cut"])
    return labels
