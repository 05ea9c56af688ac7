"""The store: one folder per run, one artifact folder per step, found again by key."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.core.artifact import MANIFEST, read_manifest, recover, verify
from compress.core.errors import InputError, JobError

try:
    import fcntl
except ImportError:  # Windows has no flock; two runs in one folder are then not kept apart
    fcntl = None  # type: ignore[assignment]


class Store:
    """Artifacts of one run under `root` (`runs/NAME`); finds finished work there and in sibling runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[str] = set()

    def folder(self, name: str) -> Path:
        """Where the artifact of a step lies, or will lie."""
        return self.root / name

    def work(self, name: str, key: str) -> Path:
        """Where a step keeps what must outlive an interruption. Another key is another folder."""
        return self.root / ".work" / f"{name}-{key[:16]}"

    def cache(self) -> Path:
        """A folder that sibling runs share, for what can be made again (a teacher's logits)."""
        return self.root.parent / ".stillroom-cache"

    def state(self, name: str, key: str) -> str:
        """`done` (the same key is stored), `stale` (another key is) or `new`. Only looks."""
        stored = _key(self.folder(name))
        return "new" if stored is None else "done" if stored == key else "stale"

    def elsewhere(self, key: str, here: bool = True) -> Iterator[Path]:
        """Folders that hold the artifact of this key: of another step of this run if `here`, and of sibling runs."""
        own = self.root.resolve()
        folders = [manifest.parent for manifest in own.parent.glob(f"*/*/{MANIFEST}")]
        for folder in sorted(folders, key=lambda one: (one.parent != own, one)):
            if not folder.name.startswith(".") and (here or folder.parent != own) and _key(folder) == key:
                yield folder

    def adopt(self, source: Path, out: Path) -> dict[str, object]:
        """Verify an artifact of another step or run and link (or copy) its files into `out`. Returns its manifest."""
        manifest = verify(source)
        for name in manifest["files"]:
            target = out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source / name, target)
            except OSError:
                shutil.copy2(source / name, target)
        del manifest["files"]
        return manifest

    def checked(self, name: str) -> Path:
        """The folder of a finished step, its hashes verified. Raises InputError when it is damaged."""
        if name not in self._verified:
            verify(self.folder(name))
            self._verified.add(name)
        return self.folder(name)

    def recover(self, name: str) -> None:
        """Bring back the former artifact of a step whose replacement was cut off by a crash."""
        recover(self.folder(name))

    def finish(self, name: str, key: str) -> None:
        """Drop the work folders of a step whose artifact is whole."""
        for leftover in (self.root / ".work").glob(f"{name}-*"):
            if leftover.name[: -len(key[:16]) - 1] == name:
                shutil.rmtree(leftover, ignore_errors=True)
        self._verified.add(name)  # its files were hashed a moment ago

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second run out of this folder. Raises JobError when another process works in it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = (self.root / ".lock").open("w")
        except OSError as error:
            raise InputError(
                f"{self.root}: cannot be written ({error.strerror}); choose another folder with --out"
            ) from error
        with handle:
            if fcntl is not None:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    raise JobError(
                        f"{self.root}: another run works in this folder; wait for it, or use --out"
                    ) from None
            yield


def _key(folder: Path) -> str | None:
    if not (folder / MANIFEST).is_file():
        return None
    try:
        key = read_manifest(folder).get("key")
    except (InputError, json.JSONDecodeError):
        return None
    return str(key) if key else None
