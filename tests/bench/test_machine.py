"""What the kernel says of clocks and memory nodes, from folders that the test writes."""

from __future__ import annotations

from pathlib import Path

from compress.bench.machine import cpu_mhz, governor, machine, numa_nodes


def test_governors_and_clocks_of_every_core(tmp_path: Path) -> None:
    """One core in `powersave` among many in `performance` is what makes a result jump."""
    for core, name in enumerate(("performance", "powersave")):
        folder = tmp_path / f"cpu{core}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{name}\n")
        for file, value in (("min", 800_000), ("max", 3_000_000), ("cur", 1_000_000 * (core + 1))):
            (folder / f"scaling_{file}_freq").write_text(f"{value}\n")
    assert governor(tmp_path) == "performance, powersave"
    assert cpu_mhz(tmp_path) == {"min": 800.0, "max": 3000.0, "now": 1500.0}


def test_what_the_kernel_does_not_tell_is_none(tmp_path: Path) -> None:
    """A virtual machine has no governor; an empty text would read like one that is called so."""
    assert governor(tmp_path) is None and cpu_mhz(tmp_path) is None and numa_nodes(tmp_path) == {}
    for number, cores in ((10, "2-3"), (2, "0-1")):
        (tmp_path / f"node{number}").mkdir()
        (tmp_path / f"node{number}" / "cpulist").write_text(f"{cores}\n")
    assert list(numa_nodes(tmp_path).items()) == [("2", "0-1"), ("10", "2-3")]


def test_the_machine_of_a_result_names_all_of_it() -> None:
    """A ratio that cannot be repeated is explained by what is missing here."""
    found = machine()
    for name in (
        "governor",
        "cpu_mhz",
        "gpu_state",
        "numa",
        "affinity",
        "load",
        "cgroup_cpu_quota",
        "memory_limit_bytes",
    ):
        assert name in found
