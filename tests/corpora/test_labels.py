"""Label names and order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.corpora.labels import Seen, label_index
from compress.corpora.sources.jsonl import JsonLines
from tests.corpora.tools import Columns, brought, labelled, lines


def seen(**splits: list[Any]) -> dict[str, Seen]:
    found = {}
    for split, values in splits.items():
        found[split] = Seen(f"{split}.jsonl")
        for row, value in enumerate(values, 1):
            found[split].add([value], row)
    return found


@pytest.mark.parametrize(
    ("values", "options", "names", "index"),
    [
        (["b", "a"], {}, ["a", "b"], {"a": 0, "b": 1}),
        ([10, 9], {}, ["9", "10"], {9: 0, 10: 1}),
        ([True, False], {}, ["false", "true"], {False: 0, True: 1}),
        ([1.0, 0.0], {}, ["0", "1"], {0.0: 0, 1.0: 1}),
        (["b", "a"], {"order": ["b", "a"]}, ["b", "a"], {"a": 1, "b": 0}),
        ([0, 1], {"order": ["bad", "good"]}, ["bad", "good"], {0: 0, 1: 1}),
        ([0, 1], {"order": ["1", "0"]}, ["1", "0"], {0: 1, 1: 0}),
        ([0, 1], {"names": {0: "no", 1: "a yes"}}, ["a yes", "no"], {0: 1, 1: 0}),
        ([0, 1], {"names": {"0": "x", "1": "y"}, "order": ["y", "x"]}, ["y", "x"], {0: 1, 1: 0}),
        ([1, 0], {"declared": ["spam", "ham"]}, ["spam", "ham"], {0: 0, 1: 1}),
        ([1, 0], {"declared": ["spam", "ham"], "order": ["ham", "spam"]}, ["ham", "spam"], {0: 1, 1: 0}),
        (["x", "y", "z"], {"names": {"y": "x"}}, ["x", "z"], {"x": 0, "y": 0, "z": 1}),
    ],
)
def test_order(values: list[Any], options: dict[str, Any], names: list[str], index: dict[Any, int]) -> None:
    """An index that depends on the order of the rows, or names given to the wrong index."""
    assert label_index(seen(train=values), **options)[:2] == (names, index)


@pytest.mark.parametrize(
    ("splits", "options", "said"),
    [
        ({"train": ["a", "b"], "dev": ["a", "c"]}, {}, r"dev\.jsonl: row 2: the label 'c' is not a label of train"),
        ({"train": ["good", "bad"], "dev": ["godo"]}, {}, 'did you mean "good"?'),
        ({"train": ["a", "b", "c"]}, {"order": ["a", "b"]}, "row 3: the label 'c' is not in the recipe's `labels`"),
        ({"train": [0, 1], "test": [-1]}, {}, "`unlabeled` file"),
        ({"train": ["a", "a"]}, {}, "every row has the label 'a'"),
        ({"train": ["a", 1]}, {}, "row 2: the label 1 is int, but 'a' .* is str; write all labels as one type"),
        ({"train": [0, 1], "dev": ["0"]}, {}, r"dev\.jsonl: row 1: the label '0' is str"),
        ({"train": [0, True]}, {}, "is bool"),
        ({"train": [0.5, 1.0]}, {}, "the label 0.5 is a fraction; use the task `regress`"),
        ({"train": [f"text {i}" for i in range(30)]}, {}, "30 different labels in 30 rows.*is this the label column"),
        ({"train": [0, 1, 2]}, {"order": ["no", "yes"]}, "the label '2' is not in the recipe's"),
    ],
)
def test_labels_that_are_wrong(splits: dict[str, list[Any]], options: dict[str, Any], said: str) -> None:
    """A model trained on labels that mean something else in another split, or on one label."""
    with pytest.raises(InputError, match=said):
        label_index(seen(**splits), **options)


def test_a_label_that_is_a_list() -> None:
    """A traceback for several labels in one cell."""
    with pytest.raises(InputError, match=r"row 1: a label should be text or a number, came \['a'\]"):
        seen(train=[["a"]])


def test_a_listed_label_that_train_lacks_is_a_warning() -> None:
    """An output that no row ever trained going unnoticed."""
    labels, _, warnings = label_index(seen(train=["a", "b"], test=["c"]), order=["a", "b", "c"])
    assert labels == ["a", "b", "c"] and "no train row carries c" in warnings[0]


def test_rare_tags_of_test_are_admitted(tmp_path: Path) -> None:
    """CoNLL-2000, whose test split has a tag that its train split lacks, being refused."""
    lines(tmp_path / "train.jsonl", [{"tokens": ["a", "b"], "tags": ["O", "B-X"]}])
    lines(tmp_path / "test.jsonl", [{"tokens": ["a"], "tags": ["I-X"]}])
    found = brought(JsonLines(path=str(tmp_path)), Columns(tokens="tokens", tags="tags"))
    assert found.labels == ["B-X", "O", "I-X"] and "'I-X' never comes in train" in found.warnings[0]
    assert found.rows["test"] == [{"tokens": ["a"], "tags": [2]}]


def test_names_for_a_task_without_labels(tmp_path: Path) -> None:
    """Label options that do nothing being accepted."""
    source = JsonLines(train=str(lines(tmp_path / "t.jsonl", labelled("a", "b"))))
    with pytest.raises(InputError, match="this task has no labels"):
        brought(source, Columns(text="text"), order=["a", "b"])
