"""Sentence embeddings: texts with near meanings get near vectors (Reimers and Gurevych 2019, arXiv:1908.10084)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from compress.core.pairs import ALONE, cosine_errors, halves, in_batch, pairs_of
from compress.runtime.engines.torch_output import pooled
from compress.tasks.base import TASKS, Features, Row, Task
from compress.tasks.batch import finite, pad, text_of, tokenized
from compress.tasks.rankings import ranking_scores
from compress.tasks.regress import Regress, beside, correlation, group_name, number_of
from compress.tasks.retrieval import ranks, retrieval_scores


@TASKS.register("embed")
class Embed(Task):
    """A body without a head; a text's embedding is its pooled last hidden state.

    Four kinds of corpus: pairs with a score (`text_pair`, `target`: Spearman of the cosines, STS), pairs that belong
    together (`text_pair`: queries and what should be found; MRR, recall, nDCG over the split's texts), candidates of
    queries (`text_pair`, `group`; with `target` their order is measured: Spearman of each group, nDCG@10, MRR@10),
    which a cross-encoder teaches by `margin_mse` or `ranking_kl`, and single texts to distil on, which nothing is
    scored on. A pair is one feature and two rows `[b]` of a batch.
    """

    auto_class: ClassVar[str] = "AutoModel"
    output: ClassVar[str] = "vector"

    text: str = Field("text", description="column of the text, or of the query")
    text_pair: str | None = Field(None, description="column of the second text, or of what the query should find")
    target: str | None = Field(None, description="column of the pair's similarity, a number")
    group: str | None = Field(
        None, description="column that says which pairs are candidates of one query, such as its id (text or integer)"
    )
    lowest: float = Field(0.0, description="similarity of texts that have nothing in common")
    highest: float | None = Field(None, description="similarity of texts that mean the same (5 in STS-B)")
    pooling: Literal["mean", "cls", "max"] = Field("mean", description="over a text's tokens; cls: its first token")
    normalize: bool = Field(True, description="scale every embedding to length 1")
    temperature: float = Field(
        0.05, gt=0, le=10,
        description="of the contrastive loss on pairs without a score, and of normalized embeddings' scores of pairs, "
        "which are cosines divided by it, beside a cross-encoder's",
    )  # fmt: skip

    @model_validator(mode="after")
    def _fits(self) -> Embed:
        if self.target is not None and self.text_pair is None:
            raise ValueError("target: a similarity is one of two texts; name the second with `text_pair`")
        if self.group is not None and self.text_pair is None:
            raise ValueError("group: candidates of a query are pairs; name the second text with `text_pair`")
        if self.target is not None and self.highest is None:
            raise ValueError("highest: say which number in `target` means that two texts say the same, such as 5")
        if self.highest is not None and self.highest <= self.lowest:
            raise ValueError(f"highest: expected more than lowest ({self.lowest:g}), came {self.highest:g}")
        return self

    @property
    def metric(self) -> str:  # type: ignore[override]
        """Spearman's correlation where pairs have scores (of each group, with `group`), else mean reciprocal rank."""
        if self.target is None:
            return "mrr"
        return "spearman" if self.group is None else "group_spearman"

    @property
    def labelled(self) -> bool:  # type: ignore[override]
        """Whether rows say what is right: pairs do, but for candidates that nobody judged."""
        return self.text_pair is not None and (self.group is None or self.target is not None)

    @property
    def scorable(self) -> bool:
        """What says what is right can be scored."""
        return self.labelled

    @property
    def grouped(self) -> bool:
        """Whether pairs belong to queries."""
        return self.group is not None

    @property
    def pairs(self) -> Literal["", "scores", "positives"]:
        """Scored where there is a `target`, else positives; nothing for single texts and for mere candidates."""
        if not self.labelled:
            return ""
        return "positives" if self.target is None else "scores"

    @property
    def spare(self) -> frozenset[str]:
        """The second text: unlabelled text is distilled on as it is."""
        return frozenset({"text_pair"})

    def sources(self) -> dict[str, str]:
        """Normalised column to source column."""
        named = {"text_pair": self.text_pair, "score": self.target, "group": self.group}
        return {"text": self.text, **{name: column for name, column in named.items() if column is not None}}

    def label_values(self, row: Row) -> list[Any]:
        """None: a similarity is no label."""
        return []

    def normalise(self, row: Row, index: Mapping[Any, int]) -> dict[str, Any]:
        """`text`, and what the row has of `text_pair`, `score` and `group`.

        Raises ValueError for a row that cannot be used.
        """
        out: dict[str, Any] = {"text": text_of(row, self.text)}
        if self.text_pair is not None and row.get(self.text_pair) is not None:
            out["text_pair"] = text_of(row, self.text_pair)
        if self.target is not None and self.target in row:
            score = number_of(row[self.target], self.target)
            if self.highest is not None and not self.lowest <= score <= self.highest:
                raise ValueError(
                    f"column {self.target!r}: {score:g} is not between lowest ({self.lowest:g}) and "
                    f"highest ({self.highest:g})"
                )
            out["score"] = score
        if self.group is not None:
            out["group"] = group_name(row.get(self.group), self.group)
        return out

    def encode(self, tokenizer: Any, rows: Mapping[str, Sequence[Any]], max_length: int) -> Features:
        """Token ids of each text and, in `second`, of its pair; `labels`, the score from 0 to 1 or NaN without."""
        texts = list(rows["text"])
        features = tokenized(tokenizer, texts, None, max_length)
        pairs = list(rows.get("text_pair") or [None] * len(texts))
        there = [at for at, pair in enumerate(pairs) if pair is not None]
        seconds = tokenized(tokenizer, [pairs[at] for at in there], None, max_length)["input_ids"] if there else []
        by_place = dict(zip(there, seconds, strict=True))
        features["second"] = [by_place.get(at) for at in range(len(texts))]
        features["texts"] = list(zip(texts, pairs, strict=True))
        if "group" in rows:
            features["group"] = list(rows["group"])
        if there:
            scores = rows.get("score") or [None] * len(texts)
            features["labels"] = [self._scaled(score) for score in scores]
        return features

    def _scaled(self, score: float | None) -> float:
        if score is None or self.highest is None:
            return float("nan")
        return (float(score) - self.lowest) / (self.highest - self.lowest)

    def collate(
        self, features: Sequence[Mapping[str, Any]], pad_id: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Every text as a row, a pair as two neighbours; `outputs` and `owners` (the feature's place) are `[b]`.

        `labels` `[b, 2]` float32: the pair's number (-1 for a text alone; pairs that share a text have one number) and
        its score (NaN for none).
        """
        texts: list[Mapping[str, Any]] = []
        labels: list[list[float]] = []
        owners: list[int] = []
        for place, (number, feature) in enumerate(zip(_numbers(features), features, strict=True)):
            both = [feature["input_ids"]] + ([feature["second"]] if feature.get("second") is not None else [])
            for ids in both:
                more = {"token_type_ids": [0] * len(ids)} if "token_type_ids" in feature else {}
                more |= {"most": feature["most"]} if "most" in feature else {}
                texts.append({"input_ids": ids, **more})
                score = feature.get("labels")
                labels.append([number, float("nan") if score is None else score])
                owners.append(place)
        batch = pad(texts, pad_id)
        batch["outputs"] = torch.ones(len(texts), dtype=torch.bool)
        batch["owners"] = torch.tensor(owners, dtype=torch.long)
        # Texts alone among pairs carry a label that no loss counts, so that a batch of them is no batch of other rows.
        if any("labels" in feature for feature in features) or any(number != ALONE for number, _ in labels):
            batch["labels"] = torch.tensor(labels, dtype=torch.float32)
        return batch

    def hard_loss(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> Tensor:
        """Of embeddings `[b, d]`: squared error of cosines and scores; for pairs without scores InfoNCE in the batch.

        InfoNCE (van den Oord et al. 2018, arXiv:1807.03748): each first text must pick its own second text among the
        second texts of the batch. 0 for a batch without pairs. Distillation has these as hard_cosine, hard_contrastive.
        """
        pairs = pairs_of(logits, labels)
        if not len(pairs.scores):
            return logits.sum() * 0.0
        scored = cosine_errors(pairs)
        return scored.mean() if len(scored) else in_batch(pairs, self.temperature).mean()

    def read(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """The embeddings `[b, d]`."""
        return self.pool(outputs.last_hidden_state.float(), batch["attention_mask"])

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """One vector `[b, d]` for each text, as `pooling` and `normalize` say."""
        return pooled(hidden, mask.to(hidden.device), self.pooling, self.normalize)

    def as_pairs(self) -> Regress:
        """The same corpus as a cross-encoder reads it: both texts of a row together, one score for them."""
        return Regress(
            text="text", text_pair="text_pair", target=None if self.target is None else "score",
            group=None if self.group is None else "group",
        )  # fmt: skip

    def score_of(self, first: Tensor, second: Tensor) -> Tensor:
        """What pairs of embeddings `[n, d]` score beside a cross-encoder, `[n, 1]`: their product, which for normalized
        ones is a cosine between -1 and 1 and is divided by `temperature`, so that it can take on a logit's margins."""
        product = (first.float() * second.float()).sum(-1, keepdim=True)
        return product / self.temperature if self.normalize else product

    def flatten(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings of the pairs side by side `[n, 2 d]`, and their scores `[n]`; texts alone give nothing."""
        first, second, told = halves(logits.detach().float(), labels)
        return torch.cat([first, second], dim=-1).cpu().numpy(), told[:, 1].cpu().numpy()

    def by_row(
        self, features: Sequence[Mapping[str, Any]], outputs: Sequence[np.ndarray], labels: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """One number for each pair, the cosine or the rank of the second text, as `judge` does."""
        rows = [
            {**dict(zip(("text", "text_pair"), feature["texts"], strict=True)), "group": feature.get("group")}
            for feature in features
        ]
        numbers, _ = self.judge(rows, [np.reshape(one, (2, -1)) for one in outputs])
        return numbers, list(labels)

    def judge(self, rows: Sequence[Row], outputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """From both embeddings `[2, d]` of each row its cosine or, without `target`, its rank, `[1, 1]`; the score.

        With groups the score that a search would rank by, their product, with the group's number beside it `[1, 2]`.
        """
        stacked = finite(np.stack(list(outputs)).astype(np.float64), "values of embeddings")
        if self.target is None:
            found = ranks(stacked[:, 0], stacked[:, 1], [r["text"] for r in rows], [r["text_pair"] for r in rows])
        else:
            found = (stacked[:, 0] * stacked[:, 1]).sum(-1)
            if not self.grouped:
                found = found / np.maximum(np.linalg.norm(stacked, axis=-1).prod(-1), 1e-12)
        truth = [self._scaled(row.get("score")) for row in rows]
        values = [np.array([[one]]) for one in found]
        if self.grouped:
            values = beside([row["group"] for row in rows], values)
        return values, [np.array([one]) for one in truth]

    def score(self, logits: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
        """`spearman` and `pearson` of cosines, or `mrr`, `recall@1`, `recall@10`, `ndcg@10` of ranks, each `[n, 1]`.

        Of scores beside groups `[n, 2]` also how the candidates of each group are ordered (`ranking_scores`).
        """
        found = finite(logits, "values")[:, 0].astype(np.float64)
        if self.target is None:
            return retrieval_scores(found)
        truth = labels.astype(np.float64)
        return {
            **(ranking_scores(found, truth, logits[:, 1].astype(np.int64)) if self.grouped else {}),
            "spearman": correlation(spearmanr, found, truth),
            "pearson": correlation(pearsonr, found, truth),
        }

    def chance(self, labels: np.ndarray) -> float:
        """Of equal embeddings: a correlation of 0, or the reciprocal of the middle rank."""
        return 0.0 if self.target is not None else 2 / (1 + len(labels))


def _numbers(features: Sequence[Mapping[str, Any]]) -> list[int]:
    """For each feature the place of the first one of its batch that shares a text with it; -1 for a text alone."""
    first: dict[tuple[int, str], int] = {}
    numbers = []
    for place, feature in enumerate(features):
        if feature.get("second") is None:
            numbers.append(ALONE)
            continue
        keys = list(enumerate(feature["texts"]))
        number = min((first[key] for key in keys if key in first), default=place)
        first.update({key: min(number, first.get(key, number)) for key in keys})
        numbers.append(number)
    return numbers
