"""Plain text as rows of a few sentences, for masked-LM training and general distillation."""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from datasets import Dataset
from pydantic import Field

from compress.core.errors import Fault, InputError
from compress.corpora.files import readable
from compress.corpora.sources.base import SOURCES, Source, missing_column

_SENTENCE = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?=[\"'“‘(]?[A-ZÀ-Þ0-9])")
_BLANK = re.compile(r"\n[ \t]*\n+")


@SOURCES.register("text")
class Text(Source):
    """Text files in UTF-8: the column `text`, every row in `train`.

    Lines that were wrapped by hand are joined; a blank line ends a paragraph. Rows hold whole sentences up to `words`
    words; a longer sentence is cut.
    """

    path: str = Field(description="A file, a folder of .txt files, or a glob such as books/*.txt")
    words: int = Field(64, ge=4, description="Most words in a row")
    least: int = Field(3, ge=1, description="Rows with fewer words are left out (headings, page numbers)")
    join: bool = Field(True, description="Let a row go on over the end of a paragraph (short dialogue fills up)")

    def files(self) -> list[Path]:
        """The text files, sorted."""
        path = Path(self.path)
        if path.is_file():
            return [path]
        found = path.glob("*.txt") if path.is_dir() else map(Path, glob.glob(self.path, recursive=True))
        files = sorted(p for p in found if p.is_file())
        if not files:
            raise InputError(f"{self.path}: no text file there (seen from {Path.cwd()}); expected a file, a folder of "
                             ".txt files or a glob")  # fmt: skip
        return files

    def available(self) -> set[str] | None:
        """Only train."""
        return {"train"}

    def preflight(self, columns: dict[str, str], spare: Collection[str] = ()) -> list[Fault]:
        """Missing files, or a column other than `text`."""
        try:
            self.files()
        except InputError as error:
            return [Fault("text", str(error))]
        return [
            Fault("text", missing_column(self.path, column, ["text"]))
            for column in columns.values()
            if column != "text"
        ]

    def place(self, split: str) -> str:
        """The path as it was given."""
        return self.path

    def splits(self, seed: int, columns: Collection[str] | None = None) -> dict[str, Dataset]:
        """Every row of every file, in order."""
        rows = [row for path in self.files() for row in self._rows(path)]
        if not rows:
            raise InputError(f"{self.path}: no text of {self.least} words or more")
        return {"train": Dataset.from_dict({"text": rows})}

    def _rows(self, path: Path) -> Iterator[str]:
        with readable(path):
            text = path.read_text(encoding="utf-8-sig")
        if "\0" in text:
            raise InputError(f"{path}: holds NUL bytes; expected plain text")
        words: list[str] = []
        for paragraph in _BLANK.split(text):
            for sentence in _SENTENCE.split(" ".join(paragraph.split())):
                for part in _parts(sentence.split(), self.words):
                    if len(words) + len(part) > self.words:
                        yield from self._row(words)
                        words = []
                    words += part
            if not self.join:
                yield from self._row(words)
                words = []
        yield from self._row(words)

    def _row(self, words: list[str]) -> Iterator[str]:
        if len(words) >= self.least:
            yield " ".join(words)


def _parts(words: list[str], most: int) -> Iterator[list[str]]:
    for start in range(0, len(words), most):
        yield words[start : start + most]
