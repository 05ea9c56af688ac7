"""What is handed to the tasks' scorers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compress.bench.inside.working import _first_tokens
from compress.bench.probes.quality import columns_of, gold_of, per_row
from compress.tasks.tag import Tag


def test_columns_follow_the_label_names() -> None:
    """MNLI models differ in label order: scored by position they get 10 %."""
    assert columns_of(["a", "b"], ["a", "b"]) == (None, "")
    assert columns_of(["b", "c", "a"], ["a", "b", "c"]) == ([2, 0, 1], "")
    assert columns_of(["LABEL_0", "LABEL_1"], ["a", "b"]) == (None, "")
    assert columns_of(["a", "x"], ["a", "b"])[1] == "its labels (a, x) are not the corpus's (a, b)"


def test_tagged_words_are_judged_at_their_first_token_and_cut_words_count_as_wrong(tmp_path: Path) -> None:
    """Scoring every sub-token, or leaving out cut words, gives numbers that nobody else gets."""
    words, places = _first_tokens([None, 0, 0, 1, 2, None])
    assert words.tolist() == [0, 1, 2] and places.tolist() == [1, 3, 4]
    row = {"tokens": ["a", "b", "c", "d"], "tags": [0, 1, 0, 1]}
    values = np.array([[2, 0], [0, 2], [0, 2]], dtype=np.float32)
    np.savez(tmp_path / "out.npz", values=values, counts=np.array([3]), words=words)
    outputs, kept = per_row(tmp_path / "out.npz", None)
    gold = gold_of(row, kept[0])
    assert gold.tolist() == [[0, 2], [1, 0], [0, 0]]
    assert Tag().score(outputs[0], gold, ["x", "y"])["accuracy"] == 2 / 4
