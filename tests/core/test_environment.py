"""What every manifest records of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compress.core import environment as machine


def test_it_is_plain_json_with_the_facts_that_explain_a_number() -> None:
    """A latency without threads, quota and versions cannot be compared with another."""
    found = json.loads(json.dumps(machine.environment()))
    assert {"python", "packages", "cpu", "cpu_flags", "gpu", "cores", "cgroup_cpu_quota", "memory_limit_bytes"} <= set(
        found
    )
    assert found["packages"]["stillroom"]
    assert found["cores"] >= 1


def test_quota_cuts_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen threads on two cores' quota make every measurement wrong."""
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    for quota, cores in ((2.5, 2), (0.5, 1), (None, 16), (32.0, 16)):
        monkeypatch.setattr(machine, "cgroup_cpu_quota", lambda quota=quota: quota)
        assert machine.cores() == cores


def test_a_quota_of_a_group_above_counts(tmp_path: Path) -> None:
    """Under systemd or Slurm the limit stands at a scope or slice, and the root says nothing."""
    (tmp_path / "user" / "scope").mkdir(parents=True)
    own = tmp_path / "self"
    own.write_text("0::/user/scope\n")
    assert machine.cgroup_cpu_quota(tmp_path, own) is None
    (tmp_path / "user" / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "user" / "scope" / "cpu.max").write_text("max 100000\n")
    assert machine.cgroup_cpu_quota(tmp_path, own) == 1.5


def test_quota_is_read_from_both_cgroup_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 and 2 write the same limit in different files."""
    files: dict[str, str] = {}
    monkeypatch.setattr(machine, "_read", lambda path: files.get(path.name))
    assert machine.cgroup_cpu_quota() is None
    files["cpu.max"] = "150000 100000"
    assert machine.cgroup_cpu_quota() == 1.5
    files["cpu.max"] = "max 100000"
    assert machine.cgroup_cpu_quota() is None
    del files["cpu.max"]
    files |= {"cpu.cfs_quota_us": "300000", "cpu.cfs_period_us": "100000"}
    assert machine.cgroup_cpu_quota() == 3.0
    files["cpu.cfs_quota_us"] = "-1"
    assert machine.cgroup_cpu_quota() is None
