"""What a task is: columns, head, features, batches, hard loss, metric."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from compress.core.options import Options
from compress.core.registry import Catalogue

Row = Mapping[str, Any]
Features = dict[str, Sequence[Any]]


class Task(Options):
    """Base of every task; its fields name the source columns (`{classify: {text: sentence, label: y}}`).

    auto_class: the transformers Auto class of its head. output: what the head's logits are, `"classes"` (a
    distribution over labels), `"labels"` (each label by itself), `"value"` (regression), `"span"` (a distribution over
    tokens), `"vector"` (an embedding) or `"vocabulary"`; token_level: outputs belong to tokens.
    metric: the name of the main metric, larger is better. fill: what scores of tokens are where no token may be chosen,
    padding too. A corpus holds normalised columns (`columns`), whatever
    the source called them.
    """

    auto_class: ClassVar[str]
    output: ClassVar[str]
    token_level: ClassVar[bool] = False
    fill: ClassVar[float] = 0.0
    metric: ClassVar[str]
    labelled: ClassVar[bool] = True

    @property
    def scorable(self) -> bool:
        """Whether its rows say what is right, so that a metric can be made of them."""
        return True

    @property
    def spare(self) -> frozenset[str]:
        """Normalised columns that rows of the split `unlabeled` may lack, besides labels."""
        return frozenset()

    @property
    def grouped(self) -> bool:
        """Whether rows say which others they belong to (`groups` of a batch), so that losses can rank them."""
        return False

    @property
    def pairs(self) -> Literal["", "scores", "positives"]:
        """What a row's two texts are to each other where both get an embedding: a score tells, or they belong together.

        Empty for tasks whose rows are no pairs of embeddings.
        """
        return ""

    @abstractmethod
    def sources(self) -> dict[str, str]:
        """Normalised column to source column, only for those that this recipe uses."""

    @abstractmethod
    def label_values(self, row: Row) -> list[Any]:
        """The raw labels that a source row carries (several for `tag`, none for `regress` and `mask`)."""

    @abstractmethod
    def normalise(self, row: Row, index: Mapping[Any, int]) -> dict[str, Any]:
        """A source row as normalised columns, labels as indices of `index`.

        Raises ValueError with a readable reason for a row that cannot be used.
        """

    @abstractmethod
    def encode(self, tokenizer: Any, rows: Mapping[str, Sequence[Any]], max_length: int) -> Features:
        """Token ids (no padding) and labels of normalised columns: `input_ids`, `token_type_ids`, `labels`."""

    @abstractmethod
    def collate(
        self, features: Sequence[Mapping[str, Any]], pad_id: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """A padded batch: `input_ids`, `attention_mask` `[b, s]`, `token_type_ids` when given, `labels`, `outputs`.

        outputs: bool, `[b]` or `[b, s]`, true where an output counts. `generator` is for tasks that draw (`mask`).
        """

    @abstractmethod
    def hard_loss(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> Tensor:
        """The supervised loss of this task, a scalar."""

    def read(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """The logits of this task in a model's outputs, `[b, c]` or `[b, s, c]`."""
        found: Tensor = outputs.logits
        return found

    def arrange(self, raw: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The logits of this task from the one output of an engine (`raw_output`), as `read` gives them."""
        return raw

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """One vector `[b, d]` for each text, from the last hidden state `[b, s, d]` and the mask `[b, s]`: the mean.

        Tasks whose result is the embedding let the recipe choose.
        """
        real = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * real).sum(1) / real.sum(1).clamp(min=1)

    def flatten(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """What `score` needs of one batch: `[n, c]` logits and `[n]` labels where an output counts.

        `mask` overrides it, since whole vocabularies of logits would not fit in memory.
        """
        return logits[outputs].float().cpu().numpy(), labels[outputs].cpu().numpy()

    def by_row(
        self, features: Sequence[Mapping[str, Any]], outputs: Sequence[np.ndarray], labels: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """What `flatten` gave of each feature, brought to what `score` takes of each row.

        The same, where every row is one feature and its logits are what is scored.
        """
        return list(outputs), list(labels)

    def judge(
        self, rows: Sequence[Row], outputs: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
        """What `score` takes of each row, from what a student answered to it (`Student.answers`).

        None where that is the raw output beside the row's label, score or tags.
        """
        return None

    @abstractmethod
    def score(self, logits: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
        """Metrics over a whole split from what `by_row` gave, joined; the main one under `self.metric`."""

    @abstractmethod
    def chance(self, labels: np.ndarray) -> float:
        """The main metric of the best constant prediction: a teacher must be above it."""


TASKS: Catalogue[Task] = Catalogue("task", "tasks", ("compress.tasks",))
