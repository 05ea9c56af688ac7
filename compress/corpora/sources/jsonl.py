"""JSON Lines: one object per line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from datasets import Dataset

from compress.core.errors import InputError
from compress.corpora.files import FileSource, dataset_of, readable
from compress.corpora.sources.base import SOURCES


@SOURCES.register("jsonl")
class JsonLines(FileSource):
    """JSON Lines in UTF-8, `{path: data/sst2}` or `{train: a.jsonl, dev: b.jsonl}`.

    Read line by line rather than by `datasets`, whose errors name neither the line nor the column.
    """

    extensions: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".json")

    def read(self, path: Path, columns: Collection[str] | None = None) -> Dataset:
        """Every object of a file; a key that some lines lack is null there."""
        found: dict[str, list[object]] = {}
        count = 0
        for row in _objects(path):
            for name in row.keys() - found.keys():
                found[name] = [None] * count
            for name, values in found.items():
                values.append(row.get(name))
            count += 1
        if not count:
            raise InputError(f"{path}: empty; expected one JSON object per line")
        return dataset_of(dict(sorted(found.items())), path, columns)

    def columns(self, path: Path) -> list[str]:
        """Keys of the first hundred lines."""
        names = {name for row in islice(_objects(path), 100) for name in row}
        if not names:
            raise InputError(f"{path}: empty; expected one JSON object per line")
        return sorted(names)


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    with readable(path), path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not isinstance(error, json.JSONDecodeError):  # a number of thousands of digits, endless nesting
                    raise InputError(f"{path}:{number}: JSON that cannot be read ({error})") from error
                hint = "; a JSON array is not JSON Lines: write one object per line" if line.lstrip()[0] == "[" else ""
                raise InputError(f"{path}:{number}: not JSON ({error.msg} at column {error.colno}){hint}") from error
            if not isinstance(row, dict):
                hint = "; a JSON array is not JSON Lines: write one object per line" if isinstance(row, list) else ""
                raise InputError(
                    f"{path}:{number}: expected an object {{...}}, came {type(row).__name__} {line[:40]!r}{hint}"
                )
            yield row
