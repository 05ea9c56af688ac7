"""Lines of the report from durations that are given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from compress.bench.probes.latency import Cell, Goal, block_seconds, result


def _cell(asked: int = 40) -> Cell:
    reference = [[0.010 + 0.0001 * step] * 6 for step in range(8)]
    subject = [[0.002 + 0.00002 * step] * 6 for step in range(8)]
    padding = {"teacher": 0.25, "student": 0.25}
    return Cell("corpus", 4, None, rounds={"teacher": reference, "student": subject}, padding=padding, asked=asked)


def test_a_line_holds_what_the_durations_say() -> None:
    """Milliseconds, items per second and the ratio must come from the same durations."""
    line = result(_cell(), "student", "teacher")
    assert line["p50"]["value"] == 2.07 and line["p50"]["unit"] == "ms" and line["p50"]["n"] == 48
    assert line["throughput"]["value"] == 1932.37  # 4 texts x 48 requests / 0.09936 s
    assert line["ratio"] == {"value": 5.0, "interval": [5.0, 5.0], "verdict": "FASTER"}
    assert line["padding_share"] == 0.25 and len(line["rounds"]) == 8


def test_p90_needs_samples_and_different_texts() -> None:
    """Forty timings of one text say nothing about the slowest tenth of the corpus."""
    assert result(_cell(), "student", "teacher")["p90"]["value"] is not None
    few = result(_cell(asked=8), "student", "teacher")["p90"]
    assert few["value"] is None and few["why"] == "8 different requests do not bound a 90th percentile"


def test_without_the_reference_there_is_no_ratio() -> None:
    """A ratio to a subject that failed must be blank, with the reason, and no verdict."""
    cell = _cell()
    del cell.rounds["teacher"]
    cell.faults["teacher"] = "out of memory"
    ratio = result(cell, "student", "teacher")["ratio"]
    assert ratio == {"value": None, "interval": None, "verdict": "CANNOT TELL", "why": "out of memory"}


def test_blocks_are_short_where_requests_are() -> None:
    """Blocks of tenths of a second compare two models at two moments of the machine; one request has no median."""
    assert block_seconds(2.0, None, slowest=0.001) == 0.02  # a hundred blocks at most
    assert block_seconds(2.0, None, slowest=0.006) == 0.024  # four requests
    assert block_seconds(2.0, None, slowest=0.140) == 0.1  # twenty blocks at least
    assert block_seconds(2.0, 10, slowest=0.001) == 0.2


def _desk(processes: int, seconds: float = 1.0) -> Any:
    """Two subjects that live, and what a goal reads of the options."""
    names = [SimpleNamespace(name=name) for name in ("teacher", "student")]
    return SimpleNamespace(
        alive=lambda: names, reference=names[0], options=SimpleNamespace(seconds=seconds, processes=processes)
    )


def _measured(rounds: int, seconds: float = 0.01, calls: int = 4) -> Cell:
    """So many equal rounds of both: what they say is known exactly."""
    durations = {name: [[seconds] * calls] * rounds for name in ("teacher", "student")}
    return Cell("corpus", 1, None, rounds=durations, per_request={"teacher": 0.01, "student": 0.01}, done=rounds)


def test_every_process_gives_as_many_rounds() -> None:
    """A number that is known well enough after the first process, and hides that the next one is slower."""
    desk = _desk(processes=3)
    assert not Goal(desk, _measured(5), 1 / 3).reached(5) and Goal(desk, _measured(6), 1 / 3).reached(6)
    cell = _measured(10)
    cell.by_process = [6]
    assert not Goal(desk, cell, 2 / 3).reached(4)
    cell = _measured(12)
    cell.by_process = [6]
    assert Goal(desk, cell, 2 / 3).reached(6)


def test_a_process_ends_with_its_share_of_the_time() -> None:
    """Three processes that each take the time of all; and slow requests of which none would be timed in the last."""
    desk, cell = _desk(processes=3), _measured(2, seconds=0.1)
    cell.rounds["student"] = [[0.1, 0.2, 0.1, 0.2], [0.3, 0.1, 0.1, 0.3]]
    cell.by_process = [7]
    assert not Goal(desk, cell, 2 / 3).reached(0) and Goal(desk, cell, 2 / 3).reached(1)
    slow = _measured(1, seconds=5.0, calls=1)
    assert not Goal(desk, slow, 1 / 3).reached(1)  # two samples a process, so that six bound a median in the end
    assert Goal(desk, _measured(2, seconds=5.0, calls=1), 1 / 3).reached(2)
    slow.per_request.clear()
    assert Goal(desk, slow, 1 / 3).reached(0)  # nobody is left to be timed
