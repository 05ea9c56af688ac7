"""Verdicts on memory limits, and the cgroup folder that a limit is written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.bench.cgroups import Group, limited
from compress.bench.fits import Trial, judged

MB = 10**6


@pytest.mark.parametrize(
    ("trial", "said"),
    [(Trial(200 * MB, 150 * MB), True), (Trial(400 * MB, 300 * MB), False), (Trial(300 * MB, 200 * MB), None)],
)
def test_without_a_cgroup_mapped_files_decide_nothing(trial: Trial, said: bool | None) -> None:
    """The kernel can drop pages of mapped files: saying no because of them would be a guess, and so would yes."""
    found = judged(trial, 256 * MB, "rlimit")
    assert found["fits"] is said and found["how"] == "rlimit" and found["why"]


def _tree(root: Path, controllers: str) -> Path:
    (root / "user" / "app").mkdir(parents=True)
    (root / "cgroup.controllers").write_text("cpu memory")
    (root / "user" / "cgroup.subtree_control").write_text(controllers)
    (root / "user" / "app" / "cgroup.subtree_control").write_text("")
    (root / "self").write_text("12:cpu:/x\n0::/user/app\n")
    return root


def test_a_limit_is_written_beside_the_own_cgroup(tmp_path: Path) -> None:
    """A cgroup that holds processes may not have limited children; the one around it may."""
    root = _tree(tmp_path, "memory pids")
    with limited(256 * MB, root, root / "self") as group:
        assert group is not None and group.folder.parent == root / "user"
        assert (group.folder / "memory.max").read_text() == "256000000"
        command = group.wrap(("python", "-m", "x"))
        assert command[0] == "/bin/sh" and command[3:] == (str(group.folder), "python", "-m", "x")


def test_where_no_cgroup_can_be_made_there_is_none(tmp_path: Path) -> None:
    """Without the memory controller (or with cgroup v1) a folder would be made that limits nothing."""
    root = _tree(tmp_path, "cpu pids")
    with limited(256 * MB, root, root / "self") as group:
        assert group is None
    with limited(256 * MB, tmp_path / "none", root / "self") as group:
        assert group is None
    assert sorted(path.name for path in (root / "user").iterdir()) == ["app", "cgroup.subtree_control"]


def test_what_the_kernel_says_of_the_group(tmp_path: Path) -> None:
    """An out-of-memory kill must not be reported as a crash of the subject."""
    group = Group(tmp_path)
    assert group.peak is None and not group.killed
    (tmp_path / "memory.peak").write_text("123\n")
    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert group.peak == 123 and group.killed
