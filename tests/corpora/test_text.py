"""Plain text as rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.errors import InputError
from compress.corpora.sources.text import Text

WRAPPED = """\ufeffCHAPTER I

The duke had
gone to cut his roses. Nobody
saw him go. "Well!" she said.

He came back at four.
"""


def rows(source: Text) -> list[str]:
    found: list[str] = source.splits(1)["train"]["text"][:]
    return found


def test_wrapped_lines_are_joined_and_sentences_kept_whole(tmp_path: Path) -> None:
    """Rows that end in the middle of a sentence because a line did, or that begin with a byte-order mark."""
    (tmp_path / "a.txt").write_text(WRAPPED, encoding="utf-8")
    assert rows(Text(path=str(tmp_path), words=9, join=False)) == [
        "The duke had gone to cut his roses.",
        'Nobody saw him go. "Well!" she said.',
        "He came back at four.",
    ]
    assert rows(Text(path=str(tmp_path / "a.txt"), words=64)) == [" ".join(WRAPPED.lstrip("\ufeff").split())]


def test_no_row_is_longer_than_asked(tmp_path: Path) -> None:
    """A sentence of a thousand words going through whole, or its end being lost."""
    (tmp_path / "a.txt").write_text("word " * 25)
    assert [len(row.split()) for row in rows(Text(path=str(tmp_path / "*.txt"), words=10))] == [10, 10, 5]


def test_files_that_are_wrong(tmp_path: Path) -> None:
    """A silent empty corpus."""
    assert "no text file there" in Text(path=str(tmp_path)).preflight({"text": "text"})[0].message
    (tmp_path / "a.txt").write_bytes(b"good text here\nbad \xff\n")
    with pytest.raises(InputError, match=r"a\.txt:2: not UTF-8"):
        rows(Text(path=str(tmp_path)))
    (tmp_path / "a.txt").write_bytes(b"a\0b c d e")
    with pytest.raises(InputError, match="NUL bytes"):
        rows(Text(path=str(tmp_path)))
    (tmp_path / "a.txt").write_text("two words")
    with pytest.raises(InputError, match="no text of 3 words or more"):
        rows(Text(path=str(tmp_path)))
    assert "no column 'label'" in Text(path=str(tmp_path)).preflight({"label": "label"})[0].message
