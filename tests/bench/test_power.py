"""Energy counters from a powercap folder that the test writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.bench.power import Counter, rapl


def _zone(root: Path, folder: str, name: str, joules: float = 5.0) -> Path:
    zone = root / folder
    zone.mkdir(parents=True)
    (zone / "name").write_text(f"{name}\n")
    (zone / "max_energy_range_uj").write_text("262143328850")
    (zone / "energy_uj").write_text(str(int(joules * 1e6)))
    return zone


def test_packages_and_their_memory_are_counted_once(tmp_path: Path) -> None:
    """`core` lies inside its package and `psys` around all: adding them would count the same joule three times."""
    for folder, name in (
        ("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram"), ("intel-rapl:1", "psys"),
    ):  # fmt: skip
        _zone(tmp_path, folder, name)
    found, why = rapl(tmp_path)
    assert [counter.name for counter in found] == ["intel-rapl:0 package-0", "intel-rapl:0:1 dram"]
    assert why == "" and found[0].read() == 5.0


def test_a_counter_that_wraps_does_not_give_energy_back() -> None:
    """Packages wrap after minutes under load; a negative difference would make the fastest subject free."""
    assert Counter("package", lambda: 2.0, wraps=100.0).since(99.0) == 3.0
    assert Counter("package", lambda: 5.0, wraps=100.0).since(2.0) == 3.0


def test_what_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`energy: n/a` without a reason looks like a bug."""
    assert rapl(tmp_path / "none") == (
        [],
        "this machine shows no RAPL counters (a virtual machine, or another processor)",
    )
    zone = _zone(tmp_path, "intel-rapl:0", "package-0")
    usual = Path.read_text

    def closed(path: Path) -> str:
        if path == zone / "energy_uj":
            raise PermissionError
        return usual(path)

    monkeypatch.setattr(Path, "read_text", closed)
    assert "root only" in rapl(tmp_path)[1]
