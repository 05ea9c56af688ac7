"""Memory from a /proc that the test writes."""

from __future__ import annotations

from pathlib import Path

from compress.bench.inside import memory
from compress.bench.inside.state import State


def _proc(folder: Path, rollup: dict[str, int], status: dict[str, int]) -> Path:
    for name, fields in (("smaps_rollup", rollup), ("status", status)):
        lines = [f"{key}:   {kilobytes} kB" for key, kilobytes in fields.items()]
        (folder / name).write_text("\n".join(["5564-7ffc ---p 00000000 00:00 0  [rollup]", *lines]))
    return folder


def test_a_neighbour_that_maps_the_same_library_changes_nothing(tmp_path: Path) -> None:
    """With plain PSS a second torch process halves what the first one seems to need."""
    alone = {"Rss": 300, "Pss": 300, "Pss_Anon": 100, "Pss_File": 200, "Pss_Shmem": 0, "Anonymous": 100}
    shared = {**alone, "Pss": 200, "Pss_File": 100}
    status = {"VmRSS": 300, "RssShmem": 0, "VmHWM": 450}
    one = memory.read(proc=_proc(tmp_path, alone, status))
    two = memory.read(proc=_proc(tmp_path, shared, status))
    assert one["now"] == two["now"] == 300 * 1024
    assert (one["pss"], two["pss"]) == (300 * 1024, 200 * 1024)
    assert one["peak"] == 450 * 1024 and one["method"] == "pss"


def test_shared_anonymous_pages_stay_proportional(tmp_path: Path) -> None:
    """Pages inherited from a fork are not this process's own."""
    rollup = {"Rss": 300, "Pss": 250, "Pss_Anon": 50, "Pss_File": 200, "Pss_Shmem": 0, "Anonymous": 100}
    found = memory.read(proc=_proc(tmp_path, rollup, {"VmRSS": 300, "VmHWM": 300}))
    assert found["now"] == 250 * 1024 and found["peak"] == 250 * 1024


def test_without_proc_the_number_is_called_what_it_is(tmp_path: Path) -> None:
    """A resident set size must not be printed as a proportional one."""
    found = memory.read(proc=tmp_path)
    assert found["method"] == "rss" and found["pss"] is None and found["now"] > 0
    assert not memory.reset_peak(proc=tmp_path / "missing")


def test_no_gpu_numbers_for_a_subject_on_the_cpu() -> None:
    """Asking CUDA for its memory would import torch into a process that has none."""
    assert memory.gpu(State()) == {}
