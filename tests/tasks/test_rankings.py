"""regress with groups: candidates of a query, carried to batches and scored by their order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score

from compress.tasks.rankings import ranking_scores
from tests.tasks.tools import features, generator, task

RANKED = {"text": "query", "text_pair": "passage", "target": "score", "group": "id"}


def test_a_query_is_named_by_text_or_integer() -> None:
    """Prevents ids that a CSV made integers in one split and text in another from being two queries."""
    one = task("regress", **RANKED)
    row = {"query": "a", "passage": "b", "score": 1, "id": 7}
    assert one.normalise(row, {})["group"] == one.normalise({**row, "id": "7"}, {})["group"] == "7"
    for bad in (None, " ", 7.5, True, ["7"]):
        with pytest.raises(ValueError, match="column 'id'"):
            one.normalise({**row, "id": bad}, {})


def test_groups_reach_the_batch(word_piece: Any) -> None:
    """Prevents rows of one query with two numbers, and numbers that hang on the corpus and not on the batch."""
    one = task("regress", **RANKED)
    rows = [{"text": "good", "text_pair": "bad", "score": 1.0, "group": name} for name in ("q9", "q1", "q9")]
    batch = one.collate(features(one, word_piece, rows), word_piece.pad_token_id, generator())
    assert batch["groups"].tolist() == [0, 1, 0]
    plain = task("regress", text_pair="p")
    rows = [{"text": "good", "text_pair": "bad", "score": 1.0}]
    assert "groups" not in plain.collate(features(plain, word_piece, rows), 0, generator())


def test_rankings_by_hand() -> None:
    """Prevents an order over all rows: the second query's level is another, and one with equal scores is left out."""
    truth = np.array([3.0, 1.0, 2.0, 0.0, 1.0, 5.0, 5.0, 9.0])
    said = np.array([0.9, 0.1, 0.2, 50.0, 40.0, 1.0, 2.0, 7.0])
    groups = np.array([4, 4, 4, 7, 7, 8, 8, 9])
    found = ranking_scores(said, truth, groups)
    assert found["group_spearman"] == pytest.approx((1 - 1) / 2)
    # Gains 2, 0, 1 in the best order; then gains 0, 1 with the wrong one first.
    assert found["ndcg@10"] == pytest.approx((1 + 1 / math.log2(3)) / 2)
    assert found["mrr@10"] == pytest.approx((1 + 1 / 2) / 2)


def test_equal_predictions_order_nothing() -> None:
    """Prevents a dead student that scores by the order of the file: its candidates share their places."""
    truth, groups = np.array([1.0, 0.0, 0.0, 0.0, 1.0]), np.zeros(5)
    found = ranking_scores(np.full(5, 0.3), truth, groups)
    shared = sum(1 / math.log2(1 + place) for place in range(1, 6)) / 5 * 2
    assert found["group_spearman"] == 0
    assert found["ndcg@10"] == pytest.approx(shared / (1 + 1 / math.log2(3)))
    assert found["mrr@10"] == pytest.approx(1 / 2.5)  # three wrong ones beside the first right one
    nothing = ranking_scores(np.arange(3.0), np.ones(3), np.arange(3))
    assert set(nothing.values()) == {0.0}


def test_places_past_the_tenth_do_not_count() -> None:
    """Prevents @10 that is no cut."""
    found = ranking_scores(np.arange(12.0), (np.arange(12) == 0).astype(float), np.zeros(12))
    assert found["mrr@10"] == found["ndcg@10"] == 0


def test_agrees_with_scipy_and_scikit_learn() -> None:
    """Prevents ranks that run over into the next group, and ties that are broken by place."""
    draw = np.random.default_rng(3)
    groups = draw.integers(0, 20, 300)
    truth, said = draw.integers(0, 4, 300).astype(float), draw.integers(0, 6, 300).astype(float)
    found = ranking_scores(said, truth, groups)
    rhos, gains = [], []
    for group in np.unique(groups):
        one, two = said[groups == group], truth[groups == group]
        rhos.append(spearmanr(one, two).statistic)
        gains.append(ndcg_score([two - two.min()], [one], k=10))
    assert found["group_spearman"] == pytest.approx(np.mean(rhos))
    assert found["ndcg@10"] == pytest.approx(np.mean(gains))


def test_scores_with_groups_through_the_task() -> None:
    """Prevents groups that are lost between a batch and the metric, in training and in `bench`."""
    one = task("regress", **RANKED)
    outputs = [np.array([[value]], dtype=np.float32) for value in (3.0, 1.0, 10.0, 11.0)]
    truth = [np.array([value]) for value in (1.0, 0.0, 1.0, 0.0)]
    rows = [{"group": name, "score": value} for name, value in zip("aabb", (1.0, 0.0, 1.0, 0.0), strict=True)]
    found, labels = one.by_row(rows, outputs, truth)
    judged, gold = one.judge(rows, outputs) or ([], [])
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(found, judged, strict=True))
    scores = one.score(np.concatenate(found), np.concatenate(labels), [])
    assert one.metric == "group_spearman" and scores["group_spearman"] == 0
    assert scores["mrr@10"] == pytest.approx(0.75) and {"spearman", "pearson", "mse"} < set(scores)
    assert np.concatenate(gold).tolist() == [1.0, 0.0, 1.0, 0.0] and one.chance(np.concatenate(gold)) == 0
    assert task("regress").judge(rows, outputs) is None and task("regress").metric == "spearman"


def test_rows_without_scores() -> None:
    """Prevents a corpus of candidates that nobody judged from being refused: a teacher's scores are enough."""
    one = task("regress", text="query", text_pair="passage", target=None, group="id")
    assert not one.scorable and not one.labelled
    assert one.sources() == {"text": "query", "text_pair": "passage", "group": "id"}
    assert one.normalise({"query": "a", "passage": "b", "id": 1}, {}) == {"text": "a", "text_pair": "b", "group": "1"}
