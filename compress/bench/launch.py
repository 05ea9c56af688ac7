"""Starting a subject's process and loading its model, again when a request has cost it its life."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.bench.isolation import RequestError, SubjectError, Worker

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running

STARTING = 120.0  # seconds for imports, beyond `timeout`: many processes may start at once, from a cold disk


def worker(desk: Desk, running: Running, command: Sequence[str] = ()) -> Worker:
    """A new process for this subject. command: how to start it, when not as the others."""
    log = desk.work / f"{running.name}.log"
    return Worker(desk.threads, log, desk.options.timeout, command or desk.command)


def importing(desk: Desk, running: Running) -> dict[str, Any]:
    """The arguments of `opening:imports`."""
    return {
        "engine": running.subject.engine,
        "family": str(running.subject.about.get("family", "")),
        "rows": str(rows_file(desk)),
    }


def loading(desk: Desk, running: Running) -> dict[str, Any]:
    """The arguments of `opening:load`."""
    return {
        "folder": str(running.subject.folder),
        "engine": running.subject.engine,
        "threads": desk.threads,
        "device": desk.device,
    }


def rows_file(desk: Desk) -> Path:
    """The inputs as a file that every process reads."""
    path = desk.work / "rows.json"
    if not path.exists():
        path.write_text(json.dumps(desk.inputs, ensure_ascii=False), encoding="utf-8")
    return path


def start_all(desk: Desk) -> None:
    """A new process for every living subject, in place of the one that it has; imports run side by side."""
    for running in desk.alive():
        if running.worker is not None:
            running.worker.close()
        running.worker = worker(desk, running)
        with desk.watch(running):
            running.worker.send("opening:imports", **importing(desk, running))
    for running in desk.alive():
        with desk.watch(running):
            assert running.worker is not None
            running.opened.update(running.worker.receive(allow=STARTING))


def renew(desk: Desk) -> None:
    """A new process with the model loaded for every living subject."""
    start_all(desk)
    for running in desk.alive():
        with desk.watch(running):
            running.call("opening:load", **loading(desk, running))


def ask(desk: Desk, running: Running, function: str, allow: float = 0.0, **arguments: Any) -> Any:
    """`Running.call`, but a process that dies for lack of memory is started again and loaded.

    Raises RequestError then, as for every request that could not be served: the cell is blank, the subject goes on.
    """
    try:
        return running.call(function, allow, **arguments)
    except SubjectError as error:
        if not error.memory:
            raise
        restart(desk, running)
        raise RequestError(f"out of memory: {error}") from error


def warm_up(
    desk: Desk, running: Running, rows: list[list[int]], mix: str = "corpus", length: int | None = None
) -> dict[str, Any]:
    """Build the requests of a cell and warm up, for at most a quarter of a cell's time; see `timing.prepare`.

    Raises RequestError as `ask`.
    """
    seconds = desk.options.seconds / 4
    made: dict[str, Any] = ask(
        desk, running, "timing:prepare", seconds, mix=mix, length=length, rows=rows, seconds=seconds, cores=desk.cores
    )
    return made


def restart(desk: Desk, running: Running) -> None:
    """A fresh process with the model loaded, in place of one that ended. Raises SubjectError when that fails too."""
    if running.worker is not None:
        running.worker.kill()
    running.worker = worker(desk, running)
    running.call("opening:imports", allow=STARTING, **importing(desk, running))
    running.call("opening:load", **loading(desk, running))
