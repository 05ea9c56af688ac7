"""Identity by content: canonical JSON and SHA-256."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN. Raises TypeError for anything that JSON cannot hold."""
    _refuse_unknown(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, as hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_sha256(path: Path) -> str:
    """SHA-256 of a file, or of a folder's relative names and bytes (hidden files left out), as hex."""
    if path.is_file():
        return file_sha256(path)
    files = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
    return digest([[p.relative_to(path).as_posix(), file_sha256(p)] for p in files])


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _refuse_unknown(value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"an identity needs text keys, came {type(key).__name__} {key!r}")
            _refuse_unknown(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_unknown(inner)
    elif value is not None and not isinstance(value, (str, int, float, bool)):
        raise TypeError(f"an identity holds only JSON values, came {type(value).__name__}")
