"""One benchmark from start to finish: `bench_models(["teacher/", "student/"], "corpus/")`."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress.bench.cores import quiet_cores
from compress.bench.desk import Desk, Running, inputs_of
from compress.bench.isolation import COMMAND
from compress.bench.launch import loading, start_all
from compress.bench.machine import device_for, machine
from compress.bench.options import BenchOptions
from compress.bench.sources import Subject, names_of, subject
from compress.core.environment import cores
from compress.core.errors import InputError, JobError, did_you_mean
from compress.core.options import Choice
from compress.core.reporter import Reporter
from compress.corpora.corpus import Corpus
from compress.tasks.base import TASKS, Task

SCHEMA_VERSION = 1


def bench_models(
    models: Sequence[str],
    corpus: str | Path,
    options: BenchOptions | None = None,
    *,
    names: Sequence[str] | None = None,
    reporter: Reporter | None = None,
    seed: int = 13,
    command: Sequence[str] = COMMAND,
) -> dict[str, Any]:
    """Measure models (folders or hub names, the reference first) on a corpus folder; returns what measures.json holds.

    names: what to call them; default the last part of each path. seed: decides which rows and in what order. command:
    starts a subject's process, when not with this interpreter. A subject that crashes or hangs is reported as such
    and the others finish; raises JobError when none is left, InputError for what can be seen beforehand.
    """
    options, reporter = options or BenchOptions(), reporter or Reporter()
    if not models:
        raise InputError("bench needs at least one model")
    subjects = subjects_of(models, names or names_of(models), options.engine)
    opened = Corpus.open(corpus)
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        desk = _desk(subjects, opened, options, seed, Path(work), reporter, command)
        environment = {**machine(), "bound_to": desk.cores}
        try:
            _open_all(desk)
            for probe in sorted(options.probes, key=lambda probe: probe.order):
                probe.measure(desk)
            _note_idle(desk)
        finally:
            _end_all(desk)
    return _result(desk, opened, environment)


def subjects_of(models: Sequence[str], names: Sequence[str], engine: str | dict[str, str]) -> list[Subject]:
    """The subjects with their engines. Raises InputError for an engine given to a name that is not measured."""
    if isinstance(engine, dict):
        for name in engine:
            if name not in names:
                hint = did_you_mean(name, names)
                raise InputError(f"engine: {name!r} is none of the models ({', '.join(names)}){hint}")
    by_name = engine if isinstance(engine, dict) else dict.fromkeys(names, engine)
    return [subject(name, model, by_name.get(name, "auto")) for name, model in zip(names, models, strict=True)]


def _desk(
    subjects: Sequence[Subject], corpus: Corpus, options: BenchOptions, seed: int, work: Path, reporter: Reporter,
    command: Sequence[str],
) -> Desk:  # fmt: skip
    task = Choice(TASKS).parse(corpus.task)
    assert isinstance(task, Task)
    split = options.split or ("test" if corpus.has("test") else "dev")
    chance = random.Random(seed)
    rows = corpus.texts(split)
    if not rows:
        raise InputError(f"{corpus.folder}: its {split} split is empty; bench needs rows to time and to score")
    if options.limit is not None and len(rows) > options.limit:
        rows = [rows[index] for index in sorted(chance.sample(range(len(rows)), options.limit))]
    running = [Running(one, one is subjects[0], _blank(one, one is subjects[0])) for one in subjects]
    device, threads = device_for(options.device, subjects), options.threads or cores()
    bound = quiet_cores(threads) if device == "cpu" else []
    return Desk(
        options, task, corpus.labels, split, rows, [inputs_of(row) for row in rows], running, device, threads, work,
        reporter, chance, command, cores=bound,
    )  # fmt: skip


def _blank(subject: Subject, reference: bool) -> dict[str, Any]:
    return {
        "name": subject.name,
        "reference": reference,
        "source": subject.source,
        "engine": subject.engine,
        "dtype": subject.dtype,
        "status": "ok",
        "error": None,
    }


def _open_all(desk: Desk) -> None:
    """Start every process (imports side by side), then load one after the other, alone."""
    for running in desk.running:
        running.report.update(threads=desk.threads, device=desk.device)
    start_all(desk)
    with desk.reporter.progress("load", len(desk.alive())) as bar:
        for running in desk.alive():
            with desk.watch(running):
                _open(desk, running)
            bar.advance(1, running.name)


def _open(desk: Desk, running: Running) -> None:
    running.opened.update(running.call("opening:load", **loading(desk, running)))
    running.report.update(
        threads=running.opened["threads"],
        dtype=running.opened["dtype"],
        affinity=running.opened["affinity"],
        imports=running.opened["imports"],
        max_length=running.opened["max_length"],
    )
    for probe in sorted(desk.options.probes, key=lambda probe: probe.order):
        probe.at_start(desk, running)


def _note_idle(desk: Desk) -> None:
    """How much CPU each process used while the others were measured: spinning pools would show here."""
    for running in desk.alive():
        with desk.watch(running):
            idle = running.call("opening:idle")
            running.report["idle_cpu_share"] = round(idle["cpu"] / idle["wall"], 5) if idle["wall"] else 0.0


def _end_all(desk: Desk) -> None:
    for running in desk.running:
        if running.worker is not None:
            running.worker.close()
            running.worker = None


def _result(desk: Desk, corpus: Corpus, environment: dict[str, Any]) -> dict[str, Any]:
    for running in desk.running:
        if not running.ok:
            for probe in desk.options.probes:
                probe.missing(running)
    if not desk.alive():
        reasons = "; ".join(f"{running.name}: {running.report['error']}" for running in desk.running)
        raise JobError(f"no subject could be measured ({reasons})")
    return {
        "schema": SCHEMA_VERSION,
        "reference": desk.reference.name,
        "corpus": {
            "source": str(corpus.folder), "key": corpus.key, "task": corpus.task, "labels": corpus.labels,
            "split": desk.split, "rows": len(desk.rows),
        },
        "subjects": [running.report for running in desk.running],
        "environment": environment,
        "harness": {**desk.harness, "options": desk.options.dump()},
    }  # fmt: skip
