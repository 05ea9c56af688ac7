"""Artifacts: folders with a manifest, written whole or not at all.

A step writes into a hidden folder beside the final one. `commit` hashes every file, syncs them to disk, writes
`manifest.json` last and renames the folder into place, so that a folder with its final name is always complete.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.hashing import digest, file_sha256

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
KINDS = ("Corpus", "Signals", "Model", "Measures")
UNSAFE = (".pkl", ".pickle", ".bin", ".pt", ".pth", ".joblib")
_REMEDY = "copy the artifact again, or delete it and run its step again"


class ArtifactWriter:
    """Collects one artifact in a hidden folder (`out`) beside `final`; nothing is visible before `commit`."""

    def __init__(self, final: Path) -> None:
        self.final = final
        self.out = final.parent / f".partial-{final.name}"
        self._old = final.parent / f".old-{final.name}"

    def open(self) -> Path:
        """Make an empty folder to write into. Raises InputError when the place cannot be written."""
        try:
            self.final.parent.mkdir(parents=True, exist_ok=True)
            recover(self.final)
            _refuse_foreign(self.final)
            shutil.rmtree(self.out, ignore_errors=True)
            self.out.mkdir()
        except OSError as error:
            raise InputError(
                f"{self.final.parent}: cannot be written ({error.strerror}); choose another folder with --out"
            ) from error
        return self.out

    def commit(self, manifest: dict[str, Any]) -> Path:
        """Hash, sync, write the manifest, and rename into place (a former artifact goes only after that)."""
        files = {p.relative_to(self.out).as_posix(): p for p in sorted(self.out.rglob("*")) if p.is_file()}
        files.pop(MANIFEST, None)
        for path in files.values():
            path.chmod(0o644)  # safetensors 0.8 writes 0600 whatever the umask
            sync(path)
        listed = {name: {"sha256": file_sha256(p), "bytes": p.stat().st_size} for name, p in files.items()}
        whole = {"schema": SCHEMA_VERSION, **manifest, "files": listed}
        write_json(self.out / MANIFEST, {**whole, "self": _self_digest(whole)})
        for folder in (self.out, *(p for p in self.out.rglob("*") if p.is_dir())):
            sync(folder)
        if self.final.exists():
            os.rename(self.final, self._old)
        os.rename(self.out, self.final)
        sync(self.final.parent)
        shutil.rmtree(self._old, ignore_errors=True)
        return self.final

    def abandon(self) -> None:
        """Drop what was written; the former artifact stays as it was."""
        shutil.rmtree(self.out, ignore_errors=True)


def _refuse_foreign(final: Path) -> None:
    """Refuse to replace what is no artifact: it may be somebody's work."""
    empty = final.is_dir() and not any(final.iterdir())
    if final.exists() and not empty and not (final / MANIFEST).is_file():
        raise InputError(f"{final}: exists and is not an artifact; move it away, or choose another folder with --out")


def recover(final: Path) -> None:
    """Bring back a former artifact whose replacement was cut off between two renames."""
    old = final.parent / f".old-{final.name}"
    if old.exists() and not final.exists():
        os.rename(old, final)
    shutil.rmtree(old, ignore_errors=True)


def read_manifest(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """The manifest of an artifact. Raises InputError when it is absent, unreadable or of another kind."""
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"{folder}: not an artifact (it has no {MANIFEST}); give a folder that a step wrote")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: damaged ({error}); delete {folder} and run its step again") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise InputError(f"{path}: not a Stillroom manifest; give a folder that a step wrote")
    if manifest.get("schema", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise InputError(
            f"{path}: has schema {manifest['schema']!r}, this Stillroom reads {SCHEMA_VERSION}; "
            "use the version that wrote it, or run its step again"
        )
    if manifest.get("self") != _self_digest(manifest):
        raise InputError(f"{path}: does not match its own SHA-256 (damaged or edited); {_REMEDY}")
    if kind is not None and manifest.get("kind") != kind:
        raise InputError(f"{folder}: expected a {kind}, came a {manifest.get('kind')}")
    return manifest


def verify(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """Check every file of an artifact against its recorded hash and return the manifest.

    Raises InputError for a missing, added, truncated or changed file, and for a pickle in place of weights.
    """
    manifest = read_manifest(folder, kind)
    listed: dict[str, dict[str, Any]] = manifest["files"]
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and is_unsafe(path):
            raise InputError(f"{path}: a pickle where weights should be; it is never loaded. Remove it")
        if path.is_file() and name not in listed and name != MANIFEST and not path.name.startswith("."):
            raise InputError(f"{path}: not listed in {MANIFEST}; remove it or run the step again")
    for name, facts in listed.items():
        _check_file(folder / name, facts)
    return manifest


def is_unsafe(path: Path) -> bool:
    """Whether a name says that a file holds a pickle. A `.bin` with an `.xml` holds an OpenVINO graph's weights."""
    return path.suffix in UNSAFE and not (path.suffix == ".bin" and path.with_suffix(".xml").is_file())


def _check_file(path: Path, facts: dict[str, Any]) -> None:
    if not path.is_file():
        raise InputError(f"{path}: missing, though the manifest lists it; {_REMEDY}")
    size = path.stat().st_size
    if size != facts["bytes"]:
        raise InputError(f"{path}: {size} bytes where the manifest says {facts['bytes']} (truncated?); {_REMEDY}")
    if file_sha256(path) != facts["sha256"]:
        raise InputError(f"{path}: its content does not match its recorded SHA-256 (damaged or edited); {_REMEDY}")


def _self_digest(manifest: dict[str, Any]) -> str:
    """Digest of a manifest without its own digest, of what JSON makes of it (so that it is equal after reading)."""
    return digest(json.loads(json.dumps({name: value for name, value in manifest.items() if name != "self"})))


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys and sync it to disk. NaN is refused: write null and say why."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
