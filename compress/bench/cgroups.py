"""A transient cgroup (v2) with a memory limit, for one process; where the user may not make one, None."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Group:
    """The folder of a cgroup."""

    folder: Path

    def wrap(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """A command that enters the cgroup and then becomes `command`, so that all its memory is charged there."""
        return ("/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.folder), *command)

    @property
    def peak(self) -> int | None:
        """The most bytes that were charged, or None on a kernel (before 5.19) that does not keep it."""
        text = _read(self.folder / "memory.peak")
        return int(text) if text.isdigit() else None

    @property
    def killed(self) -> bool:
        """Whether the kernel killed a process here because the limit was reached."""
        events = dict(line.split() for line in _read(self.folder / "memory.events").splitlines())
        return int(events.get("oom_kill", 0)) > 0


@contextmanager
def limited(limit: int, root: Path = ROOT, self_: Path = SELF) -> Iterator[Group | None]:
    """A cgroup of at most `limit` bytes without swap, removed afterwards; None when it cannot be made."""
    folder = _make(limit, root, self_)
    try:
        yield None if folder is None else Group(folder)
    finally:
        if folder is not None:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _make(limit: int, root: Path, self_: Path) -> Path | None:
    for parent in _parents(root, self_):
        if "memory" not in _read(parent / "cgroup.subtree_control").split():
            continue
        folder = parent / f"stillroom-{os.getpid()}-{next(_NUMBERS)}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / "memory.max").write_text(str(limit))
            # Without swap accounting there is no such file, and then no swap is charged here either.
            if (folder / "memory.swap.max").exists():
                (folder / "memory.swap.max").write_text("0")
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            continue
        return folder
    return None


def _parents(root: Path, self_: Path) -> list[Path]:
    """This process's own cgroup, which rarely may have children, and the one around it."""
    own = next((line[3:] for line in _read(self_).splitlines() if line.startswith("0::")), "")
    if not own or not (root / "cgroup.controllers").is_file():
        return []
    here = root / own.strip("/")
    return [here] if here == root else [here, here.parent]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
