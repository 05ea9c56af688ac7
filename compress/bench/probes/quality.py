"""How good the outputs are: scored, compared with the reference's, and looked at where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from compress.bench.isolation import RequestError
from compress.bench.launch import ask
from compress.bench.measures import absent, measure
from compress.bench.probes.base import PROBES, Probe
from compress.bench.quality.answers import answers_of, columns_of, has_gold
from compress.bench.quality.calibration import calibration
from compress.bench.quality.flips import flips
from compress.bench.quality.paired import agreement, paired
from compress.bench.quality.scored import Scored, scored
from compress.bench.quality.slices import slices
from compress.bench.statistics import interval_of, median_interval
from compress.core.errors import JobError
from compress.core.hashing import digest
from compress.core.reporter import Progress
from compress.tasks.base import Task
from compress.tasks.embed import Embed

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running

DRAWS = 100  # of a metric without a fast form: its scorer may take 10 ms
BLOCKS = 10
UNIT = "score"


@PROBES.register("quality")
class Quality(Probe):
    """Every metric of the task with a bootstrap interval over rows, from outputs of timed `predict` requests.

    The rows are answered in random requests with the padding that they bring, in the process and session that the
    latencies come from, in blocks interleaved across subjects; all subjects get the same requests. `retained` is the
    main metric as a share of the reference's; `paired` tests the difference on the same rows, `agreement`,
    `calibration`, `slices` and `flips` say where it lies.
    """

    order: ClassVar[int] = 45

    batch: int | None = Field(
        None,
        ge=1,
        description="texts per scored request, answered as one batch; default: requests of the largest batch size, "
        "batched as `predict` does for an app (an int8 student answers one by one)",
    )

    def measure(self, desk: Desk) -> None:
        """Ask every living subject for its answers, score them here and compare them with the reference's."""
        for running in desk.alive():
            _begin(desk, running)
        asked = [running for running in desk.alive() if "columns" in running.private]
        if asked:
            self._ask_all(desk, asked)
        key = digest(desk.inputs)[:16]
        with desk.reporter.progress(f"quality on {len(desk.rows)} rows", len(asked)) as bar:
            for running in asked:
                if running.ok and "columns" in running.private:
                    _score(desk, running, key)
                bar.advance(1, running.name)
        for running in desk.alive():
            if "scored" in running.private:
                _compare(desk, running)

    def missing(self, running: Running) -> None:
        """No quality for a subject that failed."""
        why = f"the subject {running.report['status']}"
        running.report["quality"] = {"values": {}, "retained": absent("ratio", why)}

    def _ask_all(self, desk: Desk, asked: Sequence[Running]) -> None:
        """Every row once, in the same random requests for all, block by block in random order of the subjects."""
        batch = self.batch or max(desk.options.batch_sizes)
        order = desk.chance.sample(range(len(desk.rows)), len(desk.rows))
        requests = [order[at : at + batch] for at in range(0, len(order), batch)]
        size = -(-len(requests) // BLOCKS)
        blocks = [requests[at : at + size] for at in range(0, len(requests), size)]
        times: dict[str, list[list[float]]] = {running.name: [] for running in asked}
        with desk.reporter.progress("answers", len(blocks) * len(asked)) as bar:
            for block in blocks:
                for running in desk.chance.sample(asked, len(asked)):
                    _ask(desk, running, block, self.batch is not None, times[running.name], bar)
        for running in asked:
            running.report["quality"]["timed"] = _timed(batch, times[running.name])


def _begin(desk: Desk, running: Running) -> None:
    """The frame of the report, and the columns of the corpus's labels, or why nothing can be scored."""
    task = desk.task
    columns, why = columns_of(running.opened["labels"], desk.labels)
    asked, other = answered_as(running.opened["task"], task)
    running.report["quality"] = {"metric": task.metric, "split": desk.split, "rows": len(desk.rows), "values": {}}
    if why or other or not has_gold(desk.rows[0], task):
        _give_up(desk, running, why or other or f"the task {task.registered_name} is not scored by bench")
    else:
        running.private.update(columns=columns, files=[], task=asked)


def answered_as(mine: str, task: Task) -> tuple[Task, str]:
    """As which task a subject of the task `mine` answers a corpus of `task`, and why it cannot be scored, if so.

    A scorer of pairs beside embeddings of the same pairs answers as `Embed.as_pairs` says, under the same metric.
    """
    if (mine == "embed") == (task.output == "vector"):
        return task, ""
    if isinstance(task, Embed) and mine == "regress" and task.grouped:
        return task.as_pairs(), ""
    gives = "embeddings" if mine == "embed" else f"answers of the task {mine}"
    return task, f"it gives {gives}, and the corpus is one of {task.registered_name}; prepare the rows for its task"


def _give_up(desk: Desk, running: Running, why: str) -> None:
    """Quality is blank for this subject, with the reason; the rest of its numbers stays."""
    running.private.pop("columns", None)
    running.report["quality"]["values"] = {desk.task.metric: absent(UNIT, why)}
    running.report["quality"]["retained"] = absent("ratio", why)


def _ask(
    desk: Desk, running: Running, block: list[list[int]], together: bool, times: list[list[float]], bar: Progress
) -> None:
    if running.ok and "columns" in running.private:
        with desk.watch(running):
            try:
                times.append(_answer(desk, running, block, together))
            except RequestError as error:
                _give_up(desk, running, f"a text of the split could not be answered: {error}")
    bar.advance(1, running.name)


def _answer(desk: Desk, running: Running, requests: list[list[int]], together: bool) -> list[float]:
    """Seconds of each request. Requests that do not fit are halved, down to single texts."""
    files: list[Path] = running.private["files"]
    out = desk.work / f"{running.name}-{len(files)}.npz"
    try:
        durations: list[float] = ask(desk, running, "outputs:answer", rows=requests, out=str(out), together=together)[
            "durations"
        ]
        files.append(out)
        return durations
    except RequestError:
        if max(map(len, requests)) == 1:
            raise
    halves = [half for one in requests for half in (one[: len(one) // 2], one[len(one) // 2 :]) if half]
    return _answer(desk, running, halves, together)


def _timed(batch: int, blocks: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The requests whose outputs are scored. Each is another one, so their times say less than the latency cells."""
    durations = [second for block in blocks for second in block]
    if not durations:
        return {"batch": batch, "requests": 0, "p50": absent("ms", "it was not measured")}
    interval = median_interval([median(block) for block in blocks if block])
    scaled = None if interval is None else (interval[0] * 1e3, interval[1] * 1e3)
    p50 = measure(median(durations) * 1e3, "ms", scaled, len(durations))
    return {"batch": batch, "requests": len(durations), "p50": p50}


def _score(desk: Desk, running: Running, key: str) -> None:
    try:
        asked: Task = running.private["task"]
        answers = answers_of(running.private["files"], running.private["columns"], desk.rows, asked)
        found = scored(asked, desk.rows, answers, desk.labels, DRAWS)
    except JobError as error:  # NaN among the outputs: no metric is made of it, and the others go on
        _give_up(desk, running, str(error))
        desk.reporter.warn(f"{running.name}: {error}")
        return
    quality = running.report["quality"]
    quality["values"] = {
        name: measure(value, UNIT, interval_of(found.draws[name]), len(desk.rows))
        for name, value in found.scores.items()
    }
    if found.units is not None:
        quality["calibration"] = calibration(found.units, len(desk.rows))
        if not type(desk.task).token_level:
            # One bit a row, so that two stored reports on the same rows can be compared row by row.
            quality["right"] = {"rows_key": key, "bits": np.packbits(found.units.right).tobytes().hex()}
    running.private["scored"] = found


def _compare(desk: Desk, running: Running) -> None:
    quality, metric = running.report["quality"], desk.task.metric
    mine: Scored = running.private["scored"]
    theirs: Scored | None = desk.reference.private.get("scored")
    quality["retained"] = retained(metric, mine, theirs)
    if theirs is None or running is desk.reference:
        return
    quality["agreement"] = agreement(mine, theirs)
    quality["paired"] = paired(metric, mine, theirs, not type(desk.task).token_level)
    quality["slices"] = slices(metric, desk.rows, desk.labels, mine, theirs)
    quality["flips"] = flips(desk.rows, desk.labels, mine, theirs)


def retained(metric: str, mine: Scored, theirs: Scored | None) -> dict[str, Any]:
    """The subject's main metric over the reference's, as a measure."""
    if theirs is None:
        return absent("ratio", "the reference has no score")
    if not theirs.scores[metric] > 0:
        return absent("ratio", "the reference's score is not above zero")
    above, below = mine.draws[metric], theirs.draws[metric]
    interval = None
    if len(above) == len(below):
        with np.errstate(divide="ignore", invalid="ignore"):
            interval = interval_of(above / below)
    return measure(mine.scores[metric] / theirs.scores[metric], "ratio", interval, len(mine.answers.outputs))
