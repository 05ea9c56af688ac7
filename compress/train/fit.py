"""`fit`: train a module on a list of examples; broken off, it goes on from its newest whole checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compress.core.errors import InputError
from compress.core.hashing import digest
from compress.core.options import identity
from compress.core.reporter import Reporter
from compress.train.batches import TrainData, derived_seed
from compress.train.bodies import compiled, quick_attention, recomputing
from compress.train.checkpoint import (
    Found,
    folder_of,
    found_in,
    load_average,
    load_best,
    newest_complete,
    put_weights,
    weights_of,
)
from compress.train.depths import DepthOf
from compress.train.group import Group, join
from compress.train.options import TrainOptions
from compress.train.place import hand_back_memory, keep_freed_memory, resolve_device, resolve_precision
from compress.train.progress import Pace
from compress.train.quick_dropout import quick_dropout
from compress.train.trackers.base import Run, started
from compress.train.trainer import Evaluate, Job, Loop, Loss
from compress.train.used_rows import used_rows, used_tokens


@dataclass(frozen=True)
class FitResult:
    """What a training did.

    best_step: the update whose weights the module now holds. best_metric: its dev metric, None without evaluation.
    steps, epochs: how far it went. examples_per_second: of all processes, evaluation left out. history: one entry per
    look, `{step, epoch, loss, terms, lr, dev}`, loss and terms as means since the entry before, `dev` empty where dev
    was not looked at. resumed_from: the step of the checkpoint that it went on from, or None. processes: how many
    trained together, each on `batch_size` rows of a batch.
    """

    best_step: int
    best_metric: float | None
    steps: int
    epochs: float
    examples_per_second: float
    stopped_early: bool
    history: list[dict[str, Any]] = field(default_factory=list)
    resumed_from: int | None = None
    precision: str = "fp32"
    device: str = "cpu"
    processes: int = 1

    def measured(self) -> dict[str, Any]:
        """The facts as plain JSON, for a manifest."""
        return {
            "best_step": self.best_step,
            "best_metric": self.best_metric,
            "steps": self.steps,
            "epochs": self.epochs,
            "examples_per_second": round(self.examples_per_second, 2),
            "stopped_early": self.stopped_early,
            "history": self.history,
            "resumed_from": self.resumed_from,
            "precision": self.precision,
            "device": self.device,
            "processes": self.processes,
        }


def fit(
    module: nn.Module,
    data: TrainData,
    loss: Loss,
    options: TrainOptions,
    *,
    work: Path,
    seed: int,
    reporter: Reporter | None = None,
    evaluate: Evaluate | None = None,
    metric: str = "",
    label: str = "training",
    depth_of: DepthOf | None = None,
) -> FitResult:
    """Train `module` in place by AdamW; on return it holds the best weights by `metric` (larger is better), on the
    CPU and in eval mode; the last weights when there is no `evaluate`.

    `loss(module, batch)` gives the scalar to minimise and its terms for the record. `evaluate()` is called with the
    module in eval mode, on the training device, and gives metrics. `depth_of(name)` tells the layer of a parameter of
    the module, for `layer_decay`: 0 for embeddings, then 1 and up, None for heads and projections. Only parameters
    that require a gradient and buffers are stored: what is frozen (a teacher) must be the same when the run is taken
    up again, and a module that holds a teacher must keep it in eval mode in its own `train`. Broken off at any moment
    and called again with the same arguments, it ends in the same weights, bit for bit on the CPU with the same number
    of threads.

    Where batches tell which rows of a word table can get a gradient, the others stay (`used_rows.py`).

    A `Staged` part of the module is told of every update; while one says that the weights do not count yet, dev is
    looked at for the record, and neither the best weights nor `patience` hear of it.

    Under torchrun every process calls it with the same arguments and weights and gets the same result. A batch then
    has `batch_size` rows for each of them, and a loss is the mean of theirs by rows: what compares rows of one batch
    (in-batch negatives, sample relations) sees those of its own process, and a mean over tokens is taken in each
    process first, as it is in each batch under `accumulate`. Only the first process evaluates and writes.

    Raises InputError for a device that is not there, for data without examples and for options that this module or
    machine cannot do, JobError for a loss that is not finite.
    """
    reporter = reporter or Reporter()
    group = join()
    device = resolve_device(options.device)
    precision = resolve_precision(options.precision, device)
    _check(module, data, evaluate, metric)
    if options.layer_decay < 1 and depth_of is None:
        raise InputError("layer_decay: which layer a weight belongs to is not known here; leave it at 1")
    if options.patience and evaluate is None:
        raise InputError(
            "patience: this training is not evaluated on dev (a warm-up, or no loss on outputs), so that it would "
            "never stop early; leave it at 0"
        )
    tokens = used_tokens(data)
    with used_rows(module, tokens, label, reporter):
        plan = _plan(module, data, options, seed, metric, f"{device.type}/{precision}", group.world, tokens)
        found = _found(work, plan, group, reporter)
        if group.world > 1:
            rows = options.batch_size
            reporter.note(f"{label}: {group.world} processes train together, {rows} rows of a batch in each")
        work.mkdir(parents=True, exist_ok=True)
        told = Run(label, plan, found.step if found else 0, options.dump())
        with _prepared(module, options, device), started(options.trackers if group.leads else [], told) as sinks:
            loop = Loop(
                Job(
                    module,
                    data,
                    loss,
                    options,
                    work,
                    seed,
                    device,
                    precision,
                    plan,
                    evaluate,
                    metric,
                    depth_of,
                    group,
                    sinks,
                )
            )
            with reporter.progress(label, total=loop.updates) as bar:
                loop.pace = Pace(bar)
                _train(loop, found, reporter)
                loop.pace.tell()
        if loop.best.weights is None and loop.average is not None:
            loop.average.put()
        module.to("cpu")
        if loop.best.weights is not None:
            put_weights(module, loop.best.weights)
        module.eval()
        module.zero_grad(set_to_none=True)
        result = _result(loop, found)
        loop.let_go()
    hand_back_memory()
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what this process keeps is missing to one that measures or trains after it
    return result


@contextmanager
def _prepared(module: nn.Module, options: TrainOptions, device: torch.device) -> Iterator[None]:
    """The module's transformers models as the options want them to run, and as they were afterwards."""
    with ExitStack() as stack:
        stack.enter_context(quick_attention(module, device, options.compile))
        if options.gradient_checkpointing:
            stack.enter_context(recomputing(module))
        if options.compile:
            stack.enter_context(compiled(module, device))
        elif device.type == "cpu":
            stack.enter_context(quick_dropout(module))
        yield


def _found(work: Path, plan: str, group: Group, reporter: Reporter) -> Found | None:
    """The checkpoint to go on from, the same for all processes: the leader looks, since looking removes broken ones."""
    found = newest_complete(work, plan, reporter.warn) if group.leads else None
    step = int(group.told(found.step if found else -1))
    return found if group.leads or step < 0 else found_in(folder_of(work, step))


def _result(loop: Loop, found: Found | None) -> FitResult:
    last = loop.state.global_step
    return FitResult(
        best_step=loop.best.step if loop.best.weights is not None else last,
        best_metric=loop.best.metric,
        steps=last,
        epochs=round(last / loop.updates_per_epoch, 4),
        examples_per_second=loop.pace.per_second(),
        stopped_early=loop.stopped_early,
        history=loop.history,
        resumed_from=found.step if found else None,
        precision=loop.job.precision,
        device=loop.job.device.type,
        processes=loop.job.group.world,
    )


def _train(loop: Loop, found: Found | None, reporter: Reporter) -> None:
    keep_freed_memory()
    job = loop.job
    job.module.train()
    job.group.share(list(weights_of(job.module).values()))
    if found is None:
        if not job.group.leads:  # dropout of its own; the leader draws what a single process draws
            torch.manual_seed(derived_seed("process", job.seed, job.group.rank))
        loop.train()
        return
    reporter.note(f"training goes on from step {found.step}")
    threads = found.state["threads"]
    if threads != torch.get_num_threads():
        reporter.warn(
            f"the checkpoint was written with {threads} threads and this process has {torch.get_num_threads()}: "
            "the result may differ in the last bits from an unbroken run"
        )
    best = load_best(found.folder, found.state["best_step"], found.state["best_metric"])
    loop.restore(found.state, best, found.step, load_average(found.folder) if loop.average is not None else None)
    loop.pace.advance(found.step, loop.meter.latest)
    loop.train(resume_from_checkpoint=str(found.folder))


def _check(module: nn.Module, data: TrainData, evaluate: Evaluate | None, metric: str) -> None:
    if not data.features:
        raise InputError("there is nothing to train on: the training split has no rows")
    if len(data.features) != len(data.lengths):
        raise InputError(f"{len(data.features)} examples and {len(data.lengths)} lengths; expected one per example")
    if not any(value.requires_grad for value in module.parameters()):
        raise InputError("there is nothing to train: every parameter of the model is frozen")
    if evaluate is not None and not metric:
        raise InputError("`evaluate` was given without the `metric` that picks the best weights")


def _plan(
    module: nn.Module,
    data: TrainData,
    options: TrainOptions,
    seed: int,
    metric: str,
    place: str,
    world: int,
    tokens: frozenset[int] | None,
) -> str:
    """What a checkpoint must have in common with this training to be taken up."""
    shared = identity(options)
    lengths = hashlib.sha256(repr(list(data.lengths)).encode()).hexdigest()
    return digest(
        {
            "options": {name: shared[name] for name in TrainOptions.model_fields if name in shared},
            "seed": seed,
            "metric": metric,
            "place": place,
            "lengths": lengths,
            "processes": world,
            "weights": [[name, list(value.shape)] for name, value in weights_of(module).items()],
            **({} if tokens is None else {"tokens": sorted(tokens)}),
        }
    )
