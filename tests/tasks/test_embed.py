"""embed: pooling, pairs in a batch, losses, similarity and retrieval scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from compress.core.errors import JobError
from compress.tasks.embed import Embed
from compress.tasks.features import with_unlabelled
from compress.tasks.retrieval import ranks
from tests.tasks.tools import features, generator, task

STS = {"text_pair": "other", "target": "score", "highest": 5.0}


@pytest.mark.parametrize(("pooling", "expected"), [("mean", [2.0, 3.0]), ("cls", [1.0, 2.0]), ("max", [3.0, 4.0])])
def test_pooling_reads_real_tokens_only(pooling: str, expected: list[float]) -> None:
    """Padding that is pooled makes an embedding depend on the texts beside it."""
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, -9.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert task("embed", pooling=pooling, normalize=False).pool(hidden, mask).tolist() == [expected]
    length = math.hypot(*expected)
    unit = task("embed", pooling=pooling).pool(hidden, mask)[0].tolist()
    assert unit == pytest.approx([value / length for value in expected])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pooling": "median"}, "pooling"),
        ({"target": "score"}, "text_pair"),
        ({"text_pair": "other", "target": "score"}, "highest"),
        ({"text_pair": "other", "target": "score", "highest": -1.0}, "more than lowest"),
        ({"group": "query"}, "candidates of a query are pairs"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], reason: str) -> None:
    """A guessed scale of scores trains towards other cosines than meant."""
    with pytest.raises(ValidationError, match=reason):
        Embed.model_validate(options)


def test_a_pair_is_two_neighbours(word_piece: Any) -> None:
    """The halves of a pair in different batches could not be compared."""
    one = task("embed", **STS)
    rows = [
        {"text": "good", "text_pair": "The film is fun", "score": 2.5},
        {"text": "bad", "text_pair": None, "score": None},
        {"text": "she said", "text_pair": "it was", "score": None},
    ]
    made = features(one, word_piece, rows)
    batch = one.collate(made, word_piece.pad_token_id, generator())
    assert batch["owners"].tolist() == [0, 0, 1, 2, 2] and batch["outputs"].all()
    assert batch["labels"][:, 0].tolist() == [0, 0, -1, 2, 2]
    assert batch["labels"][:2, 1].tolist() == [0.5, 0.5] and batch["labels"][2:, 1].isnan().all()
    assert batch["attention_mask"].sum(-1).tolist()[2] == len(made[1]["input_ids"])
    alone = one.collate(features(one, word_piece, [{"text": "bad"}]), 0, generator())
    assert "labels" not in alone
    beside = with_unlabelled(one, made, features(one, word_piece, [{"text": "bad"}]))
    told = one.collate(beside[len(made) :], 0, generator())["labels"]
    assert told[:, 0].tolist() == [-1] and told[:, 1].isnan().all()
    assert one.hard_loss(torch.ones(1, 4), told, torch.ones(1, dtype=torch.bool)) == 0


def test_candidates_of_queries_are_ranked_by_their_products() -> None:
    """Prevents an order over all queries in place of each one's own, and cosines where a search ranks by products."""
    one = task("embed", text_pair="other", target="score", highest=2.0, group="query", normalize=False)
    rows = [
        {"text": "q", "text_pair": str(at), "score": score, "group": name}
        for at, (score, name) in enumerate([(0.0, "a"), (2.0, "a"), (1.0, "b"), (0.0, "b")])
    ]
    query = [1.0, 0.0]
    outputs = [np.array([query, other]) for other in ([0.5, 0.0], [0.7, 9.0], [10.0, 0.0], [20.0, 0.0])]
    values, truth = one.judge(rows, outputs) or ([], [])
    assert np.concatenate(values).tolist() == [[0.5, 0], [0.7, 0], [10, 1], [20, 1]]
    found = one.score(np.concatenate(values), np.concatenate(truth), [])
    assert found["group_spearman"] == 0 and found["mrr@10"] == 0.75  # right in one group, turned round in the other
    assert one.metric == "group_spearman" and one.labelled and one.grouped
    bare = task("embed", text_pair="other", group="query")
    assert not bare.labelled and not bare.scorable and bare.pairs == ""


def test_pairs_that_share_a_text_have_one_number(word_piece: Any) -> None:
    """Two right texts of a query, or one text of two queries, must not be taken for negatives of each other."""
    one = task("embed", text_pair="other")
    rows = [("she", "bad"), ("she", "good"), ("it", "good"), ("was", "said"), ("was", None)]
    made = features(one, word_piece, [{"text": first, "text_pair": second} for first, second in rows])
    batch = one.collate(made, word_piece.pad_token_id, generator())
    assert batch["labels"][:, 0].tolist() == [0, 0, 0, 0, 0, 0, 3, 3, -1]
    assert batch["owners"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]


def test_scored_pairs_learn_their_cosine() -> None:
    """A dot product of vectors that are not normalised would be pulled towards 0.5 by their length."""
    vectors = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0], [4.0, 0.0], [7.0, 7.0]])
    labels = torch.tensor([[0, 0.5], [0, 0.5], [1, float("nan")], [1, float("nan")], [-1, float("nan")]])
    loss = task("embed", **STS).hard_loss(vectors, labels, torch.ones(5, dtype=torch.bool))
    assert loss.item() == pytest.approx(0.25)


def test_pairs_without_scores_pick_each_other() -> None:
    """InfoNCE: each query against all second texts of the batch."""
    nan = float("nan")
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    labels = torch.tensor([[0, nan], [0, nan], [1, nan], [1, nan]])
    one = task("embed", text_pair="other", temperature=1.0)
    loss = one.hard_loss(vectors, labels, torch.ones(4, dtype=torch.bool))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))
    labels[:, 0] = -1
    assert one.hard_loss(vectors, labels, torch.ones(4, dtype=torch.bool)) == 0


def test_similarity_is_scored_by_the_order_of_cosines() -> None:
    """Spearman of the cosines against the scores, as STS is read."""
    one = task("embed", **STS)
    vectors = [np.array([[1.0, 0.0], [math.cos(a), math.sin(a)]]) for a in (0.1, 0.5, 1.2)]
    rows = [{"text": "a", "text_pair": "b", "score": score} for score in (5.0, 4.0, 1.0)]
    outputs, truth = one.judge(rows, vectors) or ([], [])
    assert np.concatenate(truth).tolist() == [1.0, 0.8, 0.2]
    scores = one.score(np.concatenate(outputs), np.concatenate(truth), [])
    assert one.metric == "spearman" and scores["spearman"] == pytest.approx(1.0)
    with pytest.raises(JobError, match="NaN"):
        one.judge(rows, [*vectors[:2], np.full((2, 2), np.nan)])


def test_ranks_by_hand() -> None:
    """The pool holds each text once, other right texts of a query are no mistakes, and ties rank in the middle."""
    texts = ["x", "y", "z", "x"]
    positives = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [1.0, 0.0]])
    queries = np.array([[1.0, 0.1], [0.6, 0.8], [0.6, 0.8], [-1.0, 0.1]])
    assert ranks(queries, positives, ["p", "q", "r", "s"], texts).tolist() == [1, 2, 1, 3]
    assert ranks(queries, positives, ["p", "q", "q", "s"], texts).tolist() == [1, 1, 1, 3]
    same = ranks(np.ones((4, 2)), np.ones((4, 2)), list("pqrs"), list("xyzw"))
    assert same.tolist() == [2.5] * 4
    one = task("embed", text_pair="other")
    scores = one.score(np.array([[1.0], [2.0], [12.0]]), np.full(3, np.nan), [])
    assert one.metric == "mrr" and scores["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 12) / 3)
    assert scores["recall@1"] == pytest.approx(1 / 3) and scores["recall@10"] == pytest.approx(2 / 3)
    assert scores["ndcg@10"] == pytest.approx((1 + 1 / math.log2(3)) / 3)
    assert one.chance(np.full(4, np.nan)) == pytest.approx(1 / 2.5)


def test_scores_outside_their_scale_are_refused() -> None:
    """A similarity of 50 on a scale to 5 is another column."""
    with pytest.raises(ValueError, match="50 is not between lowest"):
        task("embed", **STS).normalise({"text": "a", "other": "b", "score": 50}, {})
