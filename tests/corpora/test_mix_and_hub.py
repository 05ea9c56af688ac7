"""Sources of sources: mix, and what `datasets` saved."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from compress.core.errors import InputError
from compress.corpora.sources.hub import Hub
from compress.corpora.sources.mix import Mix
from tests.corpora.tools import labelled, lines


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    """A folder of labelled rows and a text file."""
    lines(tmp_path / "rows" / "train.jsonl", [{"sentence": f"s {i}", "label": i} for i in range(4)])
    lines(tmp_path / "rows" / "test.jsonl", [{"sentence": "t", "label": 0}])
    (tmp_path / "book.txt").write_text("One two three. Four five six.")
    return str(tmp_path / "rows"), str(tmp_path / "book.txt")


def test_parts_join_split_by_split_under_one_column(two: tuple[str, str]) -> None:
    """Columns of one part read as those of another."""
    parts = [
        {"source": {"text": {"path": two[1]}}},
        {"source": {"jsonl": {"path": two[0]}}, "columns": {"text": "sentence"}},
    ]
    mix = Mix.model_validate({"parts": parts})
    splits = mix.splits(1)
    assert splits["train"].to_list() == [
        {"text": text} for text in ("One two three. Four five six.", *[f"s {i}" for i in range(4)])
    ]
    assert splits["test"].to_list() == [{"text": "t"}]
    assert mix.available() == {"train", "test"} and mix.preflight({"text": "text"}) == []
    assert len(mix.files()) == 3


def test_rows_without_labels_never_come_from_test(two: tuple[str, str]) -> None:
    """Text of the test split slipping into training through `into: unlabeled`."""
    lines(Path(two[0]) / "dev.jsonl", [{"sentence": "d", "label": 1}])
    part = {"source": {"jsonl": {"path": two[0]}}, "into": "unlabeled", "columns": {"text": "sentence"}, "limit": 2}
    mix = Mix.model_validate({"parts": [part]})
    assert mix.available() == {"unlabeled"}
    splits = mix.splits(1)
    assert set(splits) == {"unlabeled"} and len(splits["unlabeled"]) == 2
    assert splits["unlabeled"].to_list() == mix.splits(1)["unlabeled"].to_list()


def test_parts_that_do_not_fit(two: tuple[str, str]) -> None:
    """A mix of nothing in common, or a fault that does not say which part has it."""
    mix = Mix.model_validate(
        {"parts": [{"source": {"text": {"path": two[1]}}}, {"source": {"jsonl": {"path": two[0]}}}]}
    )
    with pytest.raises(InputError, match="share no column"):
        mix.splits(1)
    assert mix.preflight({"text": "text"})[0].path == "mix.parts[1].source.jsonl.train"
    only_dev = Mix.model_validate({"parts": [{"source": {"text": {"path": two[1]}}, "take": ["dev"]}]})
    with pytest.raises(InputError, match="gives none of dev"):
        only_dev.splits(1)


def test_a_saved_data_set_with_its_label_names(tmp_path: Path) -> None:
    """A local folder asked of the hub, or `validation` not seen as dev."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=["ham", "spam"])})
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    DatasetDict({"train": rows, "validation": rows, "extra": rows}).save_to_disk(tmp_path / "saved")
    hub = Hub(name=str(tmp_path / "saved"), test="extra")
    assert hub.preflight({}) == [] and set(hub.splits(1)) == {"train", "dev", "test"}
    assert hub.splits(1)["train"].features["label"].names == ["ham", "spam"]
    with pytest.raises(InputError, match=r"no split 'nothing' \(it has: train, validation, extra\)"):
        Hub(name=str(tmp_path / "saved"), test="nothing").splits(1)


def test_hub_names_need_a_revision_and_a_connection(tmp_path: Path) -> None:
    """Rows that change under a recipe, or a traceback where there is no network."""
    assert Hub(name="someone/data").preflight({})[0].path == "hub.revision"
    assert "no such folder" in Hub(name=str(tmp_path / "no")).preflight({})[0].message
    with pytest.raises(InputError, match="cannot be loaded"):
        Hub(name="someone/data", revision="0" * 40).splits(1)


def test_a_folder_of_plain_files_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub source refusing what `datasets` itself can open."""
    lines(tmp_path / "d" / "train.jsonl", labelled("a", "b"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    assert len(Hub(name=str(tmp_path / "d")).splits(1)["train"]) == 2
