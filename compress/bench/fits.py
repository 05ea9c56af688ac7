"""Whether a subject does its work within a memory limit: it is run under the limit, in a process of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compress.bench.cgroups import Group, limited
from compress.bench.isolation import RequestError, SubjectError, speaks_of_memory
from compress.bench.launch import STARTING, importing, loading, worker
from compress.bench.workload import corpus_requests

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running

REQUESTS = 4


@dataclass(frozen=True)
class Trial:
    """What one run under a limit gave. peak, own: bytes of the whole process and without pages of mapped files.

    fault: why it did not finish, empty when it did; memory: whether that was for lack of memory.
    """

    peak: int = 0
    own: int = 0
    fault: str = ""
    memory: bool = False


def fits(desk: Desk, running: Running, limit: int) -> dict[str, Any]:
    """`{"limit_bytes", "fits", "how", "why"}`: a fresh process imports, loads and answers large batches of texts.

    how: `cgroup` where one can be made (cgroup v2, delegated to this user or run as root): the kernel then ends a
    process that needs more. Else `rlimit`, a limit on the private memory that a process may ask for (RLIMIT_DATA;
    RLIMIT_AS would count mapped files and threads' reservations), judged together with the resident peak. Else
    `measured`: the peak without any limit. fits is None when only a cgroup could tell.
    """
    with limited(limit) as group:
        if group is not None:
            return {"limit_bytes": limit, **_in_cgroup(desk, running, limit, group)}
    if sys.platform == "linux":
        trial = run_trial(desk, running, _data_limited(limit, tuple(desk.command)))
        if not trial.fault:
            return {"limit_bytes": limit, **judged(trial, limit, "rlimit")}
    free = run_trial(desk, running, tuple(desk.command))
    if free.fault:
        return {"limit_bytes": limit, "fits": None, "how": "measured", "why": free.fault}
    return {"limit_bytes": limit, **judged(free, limit, "measured")}


def judged(trial: Trial, limit: int, how: str) -> dict[str, Any]:
    """The verdict on a trial that finished, by its peak."""
    peak, own = _mb(trial.peak), _mb(trial.own)
    if trial.peak <= limit:
        return {"fits": True, "how": how, "why": f"it answered with a peak of {peak}"}
    if trial.own > limit:
        return {"fits": False, "how": how, "why": f"it needs {peak} at its peak, {own} of it private memory"}
    why = f"its peak is {peak}, of which {own} are private; whether the rest (mapped files) can be dropped shows only"
    return {"fits": None, "how": how, "why": f"{why} under a cgroup (Linux, cgroup v2, as root or delegated)"}


def run_trial(desk: Desk, running: Running, command: tuple[str, ...]) -> Trial:
    """Start, load and answer with that command; what it took, or what ended it."""
    process = worker(desk, running, command)
    batch = max(desk.options.batch_sizes)
    rows = corpus_requests(desk.inputs, batch, REQUESTS, desk.chance)
    try:
        process.call("opening:imports", allow=STARTING, **importing(desk, running))
        opened = process.call("opening:load", **loading(desk, running))
        ended = process.call("working:answer", allow=desk.options.timeout, rows=rows)["memory"]
    except RequestError as error:
        process.kill()
        return Trial(fault=str(error), memory=speaks_of_memory(str(error)))
    except SubjectError as error:
        return Trial(fault=str(error), memory=error.memory)
    process.close()
    peak = max(opened["after"]["peak"], ended["peak"])
    return Trial(peak, max(peak - ended["files"], 0))


def _in_cgroup(desk: Desk, running: Running, limit: int, group: Group) -> dict[str, Any]:
    trial = run_trial(desk, running, group.wrap(tuple(desk.command)))
    charged = "" if group.peak is None else f" ({_mb(group.peak)} charged at the peak)"
    if not trial.fault:
        return {"fits": True, "how": "cgroup", "why": f"it answered within {_mb(limit)}{charged}"}
    if group.killed or trial.memory:
        return {"fits": False, "how": "cgroup", "why": f"the kernel ended it at {_mb(limit)}: {trial.fault}"}
    return {"fits": None, "how": "cgroup", "why": trial.fault}


def _data_limited(limit: int, command: tuple[str, ...]) -> tuple[str, ...]:
    """A command that limits its private memory (in whole KiB) and then becomes `command`."""
    return ("/bin/sh", "-c", 'ulimit -d "$0" && exec "$@"', str(limit // 1024), *command)


def _mb(size: int) -> str:
    return f"{size / 1e6:.4g} MB"
