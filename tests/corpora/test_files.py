"""jsonl, csv and parquet: what is read, and what is said about files that are wrong."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from pydantic import ValidationError

from compress.core.errors import InputError
from compress.corpora.sources.csv import Csv
from compress.corpora.sources.jsonl import JsonLines
from compress.corpora.sources.parquet import Parquet
from tests.corpora.tools import labelled, lines


def test_a_folder_gives_its_splits_under_any_usual_name(tmp_path: Path) -> None:
    """A dev file called `validation` taken for nothing."""
    for name in ("train", "validation", "test", "unlabelled"):
        lines(tmp_path / f"{name}.jsonl", labelled("a", "b"))
    source = JsonLines(path=str(tmp_path))
    assert source.available() == {"train", "dev", "test", "unlabeled"}
    assert {split: len(rows) for split, rows in source.splits(1).items()} == dict.fromkeys(
        ("train", "dev", "test", "unlabeled"), 2
    )
    assert source.place("dev") == str(tmp_path / "validation.jsonl")


def test_files_named_one_by_one_override_the_folder(tmp_path: Path) -> None:
    """A test file given beside a folder being ignored, or read as another split."""
    lines(tmp_path / "train.jsonl", labelled("a", "b"))
    other = lines(tmp_path / "other" / "x.jsonl", labelled("a"))
    source = JsonLines(path=str(tmp_path), test=str(other))
    assert source.files() == [tmp_path / "train.jsonl", other]


def test_keys_that_some_lines_lack_are_null(tmp_path: Path) -> None:
    """Values sliding up into the rows before them."""
    path = lines(tmp_path / "train.jsonl", [{"text": "a"}, {"text": "b", "label": 1}])
    assert JsonLines(train=str(path)).splits(1)["train"]["label"][:] == [None, 1]


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    """Files written by spreadsheets failing at their first line."""
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\n')
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbftext,label\nx,1\n")
    assert JsonLines(train=str(tmp_path / "a.jsonl")).read(tmp_path / "a.jsonl").column_names == ["text"]
    assert Csv(train=str(tmp_path / "a.csv")).read(tmp_path / "a.csv").column_names == ["text", "label"]


BROKEN_LINES = {
    "not JSON": (b'{"text": "a"}\n{"text": \n', ":2: not JSON"),
    "an array": (b'[{"text": "a"}]\n', ":1: expected an object"),
    "a pretty-printed array": (b"[\n{}]", "a JSON array is not JSON Lines"),
    "a bare text": (b'"text"\n', ":1: expected an object {...}, came str"),
    "empty": (b"", "empty; expected one JSON object per line"),
    "blank": (b"\n \n", "empty; expected one JSON object per line"),
    "not UTF-8": (b'{"text": "a"}\n{"text": "\xe9"}\n', ":2: not UTF-8 text"),
    "mixed types": (b'{"text": "a"}\n{"text": 1}\n', "row 2: column 'text' is int 1 here and str"),
}


@pytest.mark.parametrize("name", BROKEN_LINES)
def test_broken_json_lines_name_file_and_line(name: str, tmp_path: Path) -> None:
    """An error that leaves a user to search a file of a million lines."""
    content, said = BROKEN_LINES[name]
    path = tmp_path / "train.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        JsonLines(train=str(path)).splits(1)
    assert said in str(caught.value) and str(path) in str(caught.value)


def test_csv_types_are_those_of_every_cell(tmp_path: Path) -> None:
    """`NA`, `null` and `007` turned into nothing or numbers, as pandas does."""
    path = tmp_path / "train.csv"
    path.write_text('text,code,label,score\n"NA, or null",007,1,0.5\nnull,010,0,\n')
    rows = Csv(train=str(path)).splits(1)["train"].to_list()
    assert rows == [
        {"text": "NA, or null", "code": "007", "label": 1, "score": 0.5},
        {"text": "null", "code": "010", "label": 0, "score": None},
    ]


def test_tabs_and_other_delimiters(tmp_path: Path) -> None:
    """A .tsv read as one column."""
    (tmp_path / "train.tsv").write_text("text\tlabel\na, b\tx\n")
    (tmp_path / "other.csv").write_text("text;label\na, b;x\n")
    assert Csv(path=str(tmp_path)).splits(1)["train"].to_list() == [{"text": "a, b", "label": "x"}]
    source = Csv(train=str(tmp_path / "other.csv"), delimiter=";")
    assert source.splits(1)["train"].to_list() == [{"text": "a, b", "label": "x"}]


BROKEN_CSV = {
    "a cell too many": ("text,label\na,b\nc, d,e\n", ":3: 3 cells where the header has 2 (text, label); put quotes"),
    "a cell too few": ('text,label\n"a\nb",c\nd\n', ":4: 1 cells where the header has 2"),
    "an open quote": ('text,label\n"a,b\n', ":2: not CSV"),
    "a column twice": ("text,text\na,b\n", ":1: the header has the column 'text' twice"),
    "a column without a name": ("text,\na,b\n", ":1: the header has a column without a name"),
    "empty": ("", "empty; expected a header"),
    "a header only": ("text,label\n", "has a header and no rows"),
}


@pytest.mark.parametrize("name", BROKEN_CSV)
def test_broken_csv_names_file_and_line(name: str, tmp_path: Path) -> None:
    """A row that slid by one cell being trained on."""
    content, said = BROKEN_CSV[name]
    path = tmp_path / "train.csv"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        Csv(train=str(path)).splits(1)
    assert said in str(caught.value) and str(path) in str(caught.value)


def test_parquet_shards_and_declared_labels(tmp_path: Path) -> None:
    """Shards of one split read as different splits, and label names that the file carries thrown away."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=["ham", "spam"])})
    for shard in range(2):
        rows = Dataset.from_dict({"text": [f"a{shard}"], "label": [shard]}, features=features)
        rows.to_parquet(tmp_path / f"train-0000{shard}-of-00002.parquet")
    train = Parquet(path=str(tmp_path)).splits(1)["train"]
    assert train["text"][:] == ["a0", "a1"] and train.features["label"].names == ["ham", "spam"]


def test_parquet_that_is_none(tmp_path: Path) -> None:
    """An Arrow traceback for a truncated download."""
    path = tmp_path / "train.parquet"
    path.write_bytes(b"PAR1 and so on")
    with pytest.raises(InputError, match="not a Parquet file"):
        Parquet(train=str(path)).splits(1)
    assert "not a Parquet file" in Parquet(train=str(path)).preflight({"text": "text"})[0].message
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    with pytest.raises(InputError, match="no rows"):
        Parquet(train=str(path)).splits(1)


def test_preflight_names_every_missing_column(tmp_path: Path) -> None:
    """A column missed after an hour of other work, or one at a time; labels asked of unlabelled rows."""
    lines(tmp_path / "train.jsonl", labelled("a"))
    lines(tmp_path / "dev.jsonl", [{"text": "a"}])
    lines(tmp_path / "unlabeled.jsonl", [{"text": "a"}])
    faults = JsonLines(path=str(tmp_path)).preflight({"text": "text", "label": "lable"})
    assert [fault.path for fault in faults] == ["jsonl.train", "jsonl.dev"]
    assert "no column 'lable'; did you mean \"label\"? (it has: label, text)" in faults[0].message


def test_places_that_are_wrong(tmp_path: Path) -> None:
    """A missing folder or file found only by the reader, or two files for one split settled silently."""
    with pytest.raises(ValidationError, match="came neither"):
        JsonLines()
    assert "no such folder" in JsonLines(path=str(tmp_path / "no")).preflight({})[0].message
    assert "no such file" in JsonLines(train=str(tmp_path / "no")).preflight({})[0].message
    assert "a folder, expected a file" in JsonLines(train=str(tmp_path)).preflight({})[0].message
    lines(tmp_path / "dev.jsonl", labelled("a"))
    assert "no train file (expected train.jsonl" in JsonLines(path=str(tmp_path)).preflight({})[0].message
    lines(tmp_path / "valid.jsonl", labelled("a"))
    assert "both mean dev" in JsonLines(path=str(tmp_path)).preflight({})[0].message
    assert JsonLines(path=str(tmp_path)).available() is None
