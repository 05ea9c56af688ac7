"""Run a plan: skip what is stored under the same key, run the rest, one artifact each.

Of several processes (torchrun) the first one, the leader, does all this. The others wait until it says that a step
trains; that step they run too, into a folder that is thrown away, and read the stored artifact from then on.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from compress.core.artifact import ArtifactWriter, read_manifest
from compress.core.environment import environment
from compress.core.errors import Fault, FaultsError, InputError, JobError, StillroomError, did_you_mean
from compress.core.hashing import tree_sha256
from compress.core.processes import Crew, alone, this_process
from compress.core.reporter import Reporter
from compress.pipeline.plan import Planned, plan
from compress.pipeline.recipe import Recipe
from compress.pipeline.store import Store
from compress.steps.base import Context

DEFAULT_ROOT = Path("runs")


def check(recipe: Recipe) -> list[Fault]:
    """Faults that can be seen before anything is spent, with their place in the recipe."""
    faults: list[Fault] = []
    for name, step in recipe.steps.items():
        for fault in step.preflight():
            path = ".".join(part for part in ("steps", name, step.registered_name, fault.path) if part)
            faults.append(Fault(path, fault.message, recipe.where(path)))
    return faults


def plan_on_disk(recipe: Recipe) -> list[Planned]:
    """The plan with files fingerprinted by their bytes."""
    return plan(recipe, tree_sha256)


def run(recipe: Recipe, out: Path | None = None, reporter: Reporter | None = None, until: str | None = None) -> Store:
    """Run a recipe into `out` (default `runs/NAME`) and return its store.

    Finished steps are skipped; what another step or a sibling run has made already is taken from there; an interrupted
    step goes on from its newest checkpoint. Raises FaultsError before anything is spent when the recipe cannot work.
    Under torchrun every process calls it; the first one writes, and what trains is trained by all of them.
    """
    reporter = reporter or Reporter()
    if until is not None and until not in recipe.steps:
        raise InputError(f"the recipe has no step {until!r}{did_you_mean(until, recipe.steps)}")
    faults = check(recipe)
    if faults:
        raise FaultsError(faults)
    store = Store(out or DEFAULT_ROOT / recipe.name)
    crew = _crew()
    with store.lock() if crew.leads else nullcontext():
        for planned in plan_on_disk(recipe):
            if crew.leads:
                shared = _run_step(planned, store, recipe, reporter, crew)
                if not shared:
                    crew.told(False)
            elif crew.told(False):
                _help(planned, store, recipe)
                crew.meet()
            if planned.name == until:
                break
    crew.leave()
    return store


def _crew() -> Crew:
    """The processes of this job; torch is imported only where there are several."""
    if this_process().world == 1:
        return Crew()
    from compress.train.group import join

    return join()


def _run_step(planned: Planned, store: Store, recipe: Recipe, reporter: Reporter, crew: Crew) -> bool:
    """Bring one step's artifact into the store. Returns whether the other processes were called to help."""
    store.recover(planned.name)
    if store.state(planned.name, planned.key) == "done":
        store.checked(planned.name)
        reporter.note(f"{planned.name}: done before")
        return False
    writer = ArtifactWriter(store.folder(planned.name))
    out = writer.open()
    shared = False
    try:
        manifest = _adopt(planned, store, out, reporter)
        if manifest is None:
            context = _context(planned, store, out, reporter)
            shared = planned.step.together and bool(crew.told(True))
            with nullcontext() if shared else alone():
                manifest = _work(planned, context)
        inputs = {name: _key_of(store, name) for name in planned.inputs}
        writer.commit({**manifest, "step": planned.name, "key": planned.key, "recipe": recipe.name, "inputs": inputs})
    except StillroomError as error:
        raise _placed(error, planned, recipe) from error
    except OSError as error:
        raise _placed(JobError(f"{error}; {store.root} holds what was finished"), planned, recipe) from error
    finally:
        writer.abandon()  # nothing is left there after a commit
    if shared:
        crew.meet()  # the others may still be reading what lies in the step's work folder
    store.finish(planned.name, planned.key)
    return shared


def _help(planned: Planned, store: Store, recipe: Recipe) -> None:
    """Run a step beside the leader, in silence; only what both exchange is kept."""
    with tempfile.TemporaryDirectory(prefix="stillroom-") as folder:
        context = _context(planned, store, Path(folder), Reporter())
        context.leads = False
        try:
            planned.step.run(context)
        except StillroomError as error:
            raise _placed(error, planned, recipe) from error


def _placed(error: StillroomError, planned: Planned, recipe: Recipe) -> StillroomError:
    """The same error with the step's place in the recipe before it."""
    place = f"steps.{planned.name}.{planned.verb}"
    faults = error.faults if isinstance(error, FaultsError) else [Fault("", str(error))]
    placed = [replace(f, path=f"{place}.{f.path}" if f.path else place) for f in faults]
    placed = [f if f.where else replace(f, where=recipe.where(f.path)) for f in placed]
    return FaultsError(placed) if error.exit_code == InputError.exit_code else JobError("\n".join(map(str, placed)))


def _adopt(planned: Planned, store: Store, out: Path, reporter: Reporter) -> dict[str, object] | None:
    for source in store.elsewhere(planned.key, here=not planned.step.measures):
        try:
            manifest = store.adopt(source, out)
        except InputError as error:
            reporter.warn(f"{planned.name}: {source} has the same key and is damaged, so it is not taken ({error})")
            continue
        reporter.note(f"{planned.name}: taken from {source}, which has the same key")
        return manifest
    return None


def _context(planned: Planned, store: Store, out: Path, reporter: Reporter) -> Context:
    inputs = {f"${name}": store.checked(name) for name in planned.inputs}
    work = store.work(planned.name, planned.key)
    work.mkdir(parents=True, exist_ok=True)
    return Context(planned.name, inputs, out, work, planned.seed, reporter, cache=store.cache())


def _work(planned: Planned, context: Context) -> dict[str, object]:
    context.reporter.note(f"{planned.name}: {planned.verb}")
    started = time.perf_counter()
    planned.step.run(context)
    return {
        "kind": planned.step.kind,
        "verb": planned.verb,
        "version": planned.step.version,
        "options": planned.step.dump(),
        "seed": planned.seed,
        "seconds": round(time.perf_counter() - started, 3),
        "about": context.about,
        "measured": context.measured,
        "environment": environment(),
    }


def _key_of(store: Store, name: str) -> str:
    return str(read_manifest(store.folder(name))["key"])
