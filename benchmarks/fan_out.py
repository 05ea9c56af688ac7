"""Run the steps of many recipes side by side, each once, as soon as what it reads is there.

One GPU or many cores train several small students at a time where one would leave most of the machine idle. A step
runs in a sibling folder of its own, `part-KEY`, and the runs that want it take it from there by its key, as they take
anything that a sibling has made. Steps that time something are left for the runs themselves.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from compress.core.errors import JobError, StillroomError
from compress.pipeline.plan import Planned
from compress.pipeline.recipe import Recipe
from compress.pipeline.run import plan_on_disk, run

THREADS = "OMP_NUM_THREADS"  # read once, when a process starts


@dataclass(frozen=True)
class Part:
    """One step of one recipe: its key, the keys that must be there before, and the recipe cut down to it."""

    key: str
    name: str
    needs: frozenset[str]
    recipe: Recipe


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """The option `--jobs`."""
    parser.add_argument("--jobs", type=int, default=1, help="steps that train side by side, for a GPU or many cores")


def fan_out(recipes: Sequence[Recipe], out: Path, jobs: int, until: str | None = None) -> None:
    """Make every untimed step of these recipes below `out`, `jobs` at a time, on one thread each; nothing for one job.

    until: the last step of each recipe that is wanted. Raises the first error, when all that can be made is there.
    """
    if jobs < 2:
        return  # the runs do it themselves, one step after the other, on every thread
    waiting = {part.key: part for recipe in recipes for part in parts(recipe, until)}
    done: set[str] = set()
    running: dict[Future[None], str] = {}
    failed: list[BaseException] = []
    spawn = multiprocessing.get_context("spawn")
    with one_thread(), ProcessPoolExecutor(jobs, mp_context=spawn) as pool:
        while waiting or running:
            for key in [key for key, part in waiting.items() if part.needs <= done]:
                part = waiting.pop(key)
                running[pool.submit(_make, part.recipe, part.name, out / f"part-{key[:16]}")] = key
            if not running:
                break  # what is left waits for a part that failed
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                key = running.pop(future)
                if (error := future.exception()) is None:
                    done.add(key)
                else:
                    failed.append(error)
    if failed:
        raise failed[0]


def parts(recipe: Recipe, until: str | None = None) -> list[Part]:
    """The untimed steps of a recipe up to `until`, each with the steps that it comes from and no others."""
    planned = {step.name: step for step in plan_on_disk(recipe)}
    names = list(planned)
    wanted = names if until is None else names[: names.index(until) + 1]
    found = []
    for name in wanted:
        own = ancestors(name, planned)
        if not any(planned[one].step.measures for one in own):
            steps = {one: recipe.steps[one] for one in names if one in own}
            needs = frozenset(planned[one].key for one in own) - {planned[name].key}
            found.append(Part(planned[name].key, name, needs, replace(recipe, steps=steps)))
    return found


def ancestors(name: str, planned: dict[str, Planned]) -> set[str]:
    """A step and all that it comes from."""
    return {name}.union(*(ancestors(one, planned) for one in planned[name].inputs))


@contextmanager
def one_thread() -> Iterator[None]:
    """OMP_NUM_THREADS as it was before, when this ends: what is timed afterwards must not inherit it."""
    before = os.environ.get(THREADS)
    os.environ[THREADS] = before or "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[THREADS]


def _make(recipe: Recipe, name: str, folder: Path) -> None:
    try:
        run(recipe, folder, until=name)
    except StillroomError as error:  # as text: faults do not survive the way between processes
        raise JobError(str(error)) from None
