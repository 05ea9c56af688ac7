"""Rows in groups: checked, carved and limited as wholes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.corpora.carve import carve_dev, limited
from compress.corpora.checks import text_facts, warnings_of
from compress.steps.prepare import Prepare
from tests.corpora.tools import lines
from tests.steps.test_prepare import Heard, prepared

ROWS: list[dict[str, Any]] = [{"text": f"q {n % 20}", "text_pair": f"p {n}", "group": f"g{n % 20}"} for n in range(100)]
TASK = {"regress": {"text": "q", "text_pair": "p", "target": "s", "group": "id"}}


def asked(count: int, of: int = 3, **more: Any) -> list[dict[str, Any]]:
    """Rows of queries with `of` candidates each."""
    return [{"q": f"q {n // of}", "p": f"p {n}", "s": n % of, "id": n // of, **more} for n in range(count * of)]


def test_a_carved_dev_split_has_whole_groups() -> None:
    """Prevents a query with candidates on both sides: dev would be known, and its rankings cut short."""
    train, dev = carve_dev(ROWS, 0.2, 3)
    assert len(dev) == 20 and set(Counter(row["group"] for row in dev).values()) == {5}
    assert not {row["group"] for row in train} & {row["group"] for row in dev}


def test_a_limit_draws_whole_groups() -> None:
    """Prevents a limit that leaves one candidate of each query."""
    few = limited(ROWS, 23, 1)
    assert len(few) == 20 and set(Counter(row["group"] for row in few).values()) == {5}
    assert few == limited(ROWS, 23, 1) != limited(ROWS, 23, 2)
    with pytest.raises(InputError, match=r"fewer than any group has .the smallest: 5"):
        limited(ROWS, 4, 1)


def test_lonely_and_leaking_groups_are_told() -> None:
    """Prevents candidates that are compared with nothing, and queries of train in dev, from going unseen."""
    lonely = [*ROWS[:40], {"text": "a", "text_pair": "b", "group": "alone"}]
    facts = text_facts({"train": lonely, "dev": [{**row, "text_pair": "x"} for row in ROWS[:2]]})
    assert facts["groups"]["train"] == {"count": 21, "largest": 2, "alone": round(1 / 21, 6), "in_train": 0.0}
    told = warnings_of(facts)
    assert any("4.8% of train's groups have one row" in text for text in told)
    assert any("100.0% of dev's groups also stand in train" in text for text in told)
    assert "groups" not in text_facts({"train": [{"text": "a"}]})


def test_prepare_keeps_groups(tmp_path: Path) -> None:
    """Prevents the column from being lost between the file and what trains, for rows without a score too."""
    lines(tmp_path / "data" / "train.jsonl", asked(20))
    lines(tmp_path / "data" / "dev.jsonl", [{**row, "id": f"d{row['id']}"} for row in asked(2)])
    lines(tmp_path / "data" / "unlabeled.jsonl", [{"q": "a", "p": "b", "id": "u"}, {"q": "a", "p": "c", "id": "u"}])
    heard = Heard()
    corpus = prepared(tmp_path, heard, source={"jsonl": {"path": str(tmp_path / "data")}}, task=TASK)
    assert [row["group"] for row in corpus.texts("train")[:4]] == ["0", "0", "0", "1"]
    assert corpus.texts("unlabeled")[1] == {"text": "a", "text_pair": "c", "group": "u"}
    assert not [text for text in heard.warnings if "group" in text]


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "row 2: 'id' is missing"), ("  ", "row 2: 'id' is blank"), (1.5, "row 2: column 'id': expected a group's")],
)
def test_a_row_without_a_group_is_refused(tmp_path: Path, value: Any, said: str) -> None:
    """Prevents all rows without an id from becoming one query."""
    rows = asked(2)
    rows = [
        {**row, "id": float(row["id"])} if isinstance(value, float) else {**row, "id": str(row["id"])} for row in rows
    ]
    rows[1]["id"] = value
    if isinstance(value, float):
        rows = rows[:2][::-1]
    lines(tmp_path / "data" / "train.jsonl", rows)
    with pytest.raises(InputError, match=said.replace("row 2", "row [12]")):
        prepared(tmp_path, source={"jsonl": {"path": str(tmp_path / "data")}}, task=TASK, dev_share=0.3)


def test_a_column_that_is_not_there_is_a_fault_of_the_plan(tmp_path: Path) -> None:
    """Prevents a misspelt group from being found when the rows are read."""
    lines(tmp_path / "data" / "train.jsonl", asked(4))
    wrong = {"regress": {**TASK["regress"], "group": "qid"}}
    step = Prepare.model_validate(
        {"source": {"jsonl": {"path": str(tmp_path / "data")}}, "task": wrong, "dev_share": 0.2}
    )
    assert "no column 'qid'" in step.preflight()[0].message


def test_single_texts_beside_pairs_to_embed(tmp_path: Path) -> None:
    """Prevents unlabelled text from needing a second text: some rows may have one, and labelled rows must."""
    pairs = [{"a": f"x {n}", "b": f"y {n}"} for n in range(20)]
    lines(tmp_path / "data" / "train.jsonl", pairs)
    lines(tmp_path / "data" / "unlabeled.jsonl", [{"a": "alone"}, {"a": "more"}])
    given = {"task": {"embed": {"text": "a", "text_pair": "b"}}, "dev_share": 0.2}
    corpus = prepared(tmp_path, source={"jsonl": {"path": str(tmp_path / "data")}}, **given)
    assert corpus.texts("unlabeled") == [{"text": "alone"}, {"text": "more"}]
    lines(tmp_path / "data" / "unlabeled.jsonl", [{"a": "alone", "b": None}, {"a": "more", "b": "text"}])
    other = prepared(tmp_path / "other", source={"jsonl": {"path": str(tmp_path / "data")}}, **given)
    assert other.texts("unlabeled")[0] == {"text": "alone", "text_pair": None}
    lines(tmp_path / "data" / "train.jsonl", [*pairs, {"a": "x", "b": None}])
    with pytest.raises(InputError, match="'b' is missing"):
        prepared(tmp_path / "third", source={"jsonl": {"path": str(tmp_path / "data")}}, **given)
    step = Prepare.model_validate(
        {"source": {"jsonl": {"path": str(tmp_path / "data")}}, **given, "task": {"classify": {"text_pair": "b"}}}
    )
    assert any("unlabeled" in fault.path and "'text'" in fault.message for fault in step.preflight())
