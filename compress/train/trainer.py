"""The only training loop: `transformers.Trainer`, with checkpoints that survive a crash and without its per-step costs.

What is overridden, and why: batches come bucketed by length and seeded by their place in the run; a forward pass calls
the objective; gradients of several processes are summed here (`accord.py` says why); NaN stops the run; one look per
update decides on history, dev, checkpoint and stop; resume reads our own checkpoints. Optimizer, scheduler, epochs and
skipping ahead are the Trainer's.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainingArguments

from compress.train.accord import Accord
from compress.train.average import Average
from compress.train.batches import Batch, EpochLoader, Share, TrainData
from compress.train.checkpoint import (
    Best,
    CheckpointWriter,
    Weights,
    copied,
    draws,
    generators,
    load_moving,
    load_weights,
    put_weights,
    set_draws,
    set_generators,
    weights_of,
)
from compress.train.depths import DepthOf, rate_shares, with_shares
from compress.train.group import Group
from compress.train.meter import GPU_EVERY, Meter, Observed, Terms
from compress.train.options import TrainOptions
from compress.train.place import arithmetic, hand_back_memory
from compress.train.progress import Pace
from compress.train.staged import staged_parts
from compress.train.trackers.base import Sink
from compress.train.zeros import Zeros

Loss = Callable[[nn.Module, Batch], tuple[Tensor, Terms]]
Evaluate = Callable[[], Mapping[str, float]]
HISTORY_POINTS = 60
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
HAND_BACK_EVERY = 25  # updates: walking the heap and faulting its pages in again is not for every one


class Shell(nn.Module):
    """Holds the trained module apart from the Trainer, which writes into the config of what it is given."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Batch) -> None:
        """Not used: the loop calls the loss. The Trainer reads this signature."""


@dataclasses.dataclass
class Job:
    """Everything that one training needs, resolved: `precision` is `fp32` or `bf16`, `plan` names the training."""

    module: nn.Module
    data: TrainData
    loss: Loss
    options: TrainOptions
    work: Path
    seed: int
    device: torch.device
    precision: str
    plan: str
    evaluate: Evaluate | None
    metric: str
    depth_of: DepthOf | None = None
    group: Group = dataclasses.field(default_factory=Group)
    sinks: Sequence[Sink] = ()


def arguments(job: Job) -> TrainingArguments:
    """The Trainer's arguments for a job: nothing printed, logged, reported or saved by itself."""
    options = job.options
    built = TrainingArguments(
        output_dir=str(job.work),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulate,
        learning_rate=options.learning_rate,
        warmup_steps=options.warmup,
        lr_scheduler_type=SCHEDULES[options.schedule],
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        optim="adamw_torch_fused",
        seed=job.seed % (1 << 32),
        use_cpu=job.device.type == "cpu",
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    _ = built.device  # sets the number of GPUs, which is then cut to one: DataParallel would change the batch
    built._n_gpu = min(built.n_gpu, 1)
    return built


class Loop(Trainer):
    """The Trainer of one `Job`. After `train` the best weights are in `best`, the curves in `history`."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.pace = Pace()
        self.best = Best()
        self.history: list[dict[str, Any]] = []
        self.without_gain = 0
        self.stopped_early = False
        super().__init__(model=Shell(job.module), args=arguments(job))
        self.remove_callback(PrinterCallback)
        on_cpu = job.device.type == "cpu"
        self.meter = Meter(job.module, job.options.learning_rate, 1 if on_cpu else GPU_EVERY)
        self.writer = CheckpointWriter(job.work, job.plan)
        self.trained = [value for value in job.module.parameters() if value.requires_grad]
        group = job.group
        self.accord = Accord(group, self.meter, self.trained)
        self.zeros = Zeros(job.module)
        self.average = Average(job.module, job.options.ema) if job.options.ema else None
        self.loader = EpochLoader(job.data, job.options.batch_size, job.seed, group.rank, group.world)
        self.updates_per_epoch = -(-len(self.loader) // job.options.accumulate)
        self.updates = math.ceil(job.options.epochs * self.updates_per_epoch)
        self.evaluations = evaluation_steps(self.updates, self.updates_per_epoch, job.options.evaluate_per_epoch)
        self.staged = staged_parts(job.module)
        for part in self.staged:
            part.begin(self.updates)
        self.looked_at = 0
        self.rows_of_update = 0
        self.minutes_are_over = False
        self.saved_at = time.monotonic()

    # What the Trainer asks for.

    def get_train_dataloader(self) -> EpochLoader:
        """Bucketed, seeded batches; not prepared by accelerate, which would fetch one ahead."""
        return self.loader

    def _wrap_model(self, model: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        """Another shell around the same module: the Trainer takes it for wrapped, and accelerate adds no DDP."""
        return Shell(self.job.module)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The Trainer's optimizer, its groups split by layer where lower layers learn more slowly."""
        fresh = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        job = self.job
        if fresh and job.options.layer_decay < 1 and job.depth_of is not None:
            shares = rate_shares(job.module, job.depth_of, job.options.layer_decay)
            optimizer.param_groups = with_shares(optimizer.param_groups, job.module, shares)
        return optimizer

    def get_batch_samples(self, epoch_iterator: Iterator[Share], num_batches: int, device: Any) -> tuple[Any, None]:
        """The batches of one update; every row of them will weigh the same, in whatever batch or process it is."""
        shares = list(islice(epoch_iterator, num_batches))
        self.rows_of_update = sum(share.of for share in shares)
        return shares, None

    def training_step(  # type: ignore[override]
        self, model: nn.Module, inputs: Share, num_items_in_batch: Any = None
    ) -> Tensor:
        """Forward and backward of one batch. Raises JobError for a loss that is not finite."""
        device = self.job.device
        batch = {name: value.to(device, non_blocking=True) for name, value in inputs.batch.items()}
        with arithmetic(self.job.precision, device):
            loss, terms = self.job.loss(self.job.module, batch)
        detached = {name: term.detach() if isinstance(term, Tensor) else term for name, term in terms.items()}
        self.accord.saw(Observed(self.state.global_step + 1, loss.detach(), detached, batch), inputs.rows / inputs.of)
        (loss * (inputs.rows / self.rows_of_update)).backward()  # type: ignore[no-untyped-call]
        self.pace.examples += inputs.of
        return loss.detach()

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """Have AdamW divide the gradients as it reads them: the fused kernel's `grad_scale` saves a pass over all."""
        norm = self._get_grad_norm(model)
        limit = self.job.options.max_grad_norm
        optimizer = self._movers()[0]
        fused: Any = getattr(optimizer, "optimizer", optimizer)  # out of accelerate's wrapper
        # On the CPU a look is free, and saves the division when there is nothing to cut.
        cuts = norm.device.type != "cpu" or float(norm) > limit
        fused.grad_scale = ((norm + 1e-6) / limit).clamp(min=1.0) if cuts else None
        return norm

    def _get_grad_norm(self, model: nn.Module, grad_norm: Tensor | None = None) -> Tensor:
        """The length of the gradient of all processes, computed once per update, which every update asks for.

        Raises JobError when it is not finite.
        """
        if grad_norm is not None:
            return grad_norm
        minutes = self.job.options.checkpoint_minutes
        over = bool(minutes) and time.monotonic() - self.saved_at >= minutes * 60
        self.minutes_are_over = self.accord.settle(over)
        norm = torch.nn.utils.get_total_norm([value.grad for value in self.trained if value.grad is not None])
        self.meter.add_norm(self.state.global_step + 1, norm)
        return norm

    def floating_point_ops(self, inputs: Batch) -> int:
        """Not counted: the Trainer would walk all parameters at every step."""
        return 0

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Called after each update, and once more at the end of an epoch."""
        step = self.state.global_step
        if step == self.looked_at:
            return
        self.looked_at = step
        self._look(step)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        put_weights(self.job.module, load_weights(Path(resume_from_checkpoint)))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            moving = load_moving(Path(checkpoint))
            optimizer, scheduler = self._movers()
            optimizer.load_state_dict(moving["optimizer"])
            scheduler.load_state_dict(moving["scheduler"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            moving = load_moving(Path(checkpoint))
            set_generators(moving["generators"])
            set_draws(moving["draws"][self.job.group.rank], self.job.device)

    def _movers(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
        assert self.optimizer is not None and self.lr_scheduler is not None
        return self.optimizer, self.lr_scheduler

    # What happens after an update.

    def _look(self, step: int) -> None:
        self.zeros.restore()
        for part in self.staged:
            part.updated(step, self.job.group)
        if self.average is not None:
            self.average.update(step)
        evaluates = self.job.evaluate is not None and step in self.evaluations
        if evaluates or step == self.updates or step % max(1, self.updates // HISTORY_POINTS) == 0:
            dev = self._dev(step) if evaluates else {}
            self._remember(step, dev)
        if step % HAND_BACK_EVERY == 0:
            hand_back_memory()
        self.pace.advance(1, self.meter.latest)
        patience = self.job.options.patience
        if evaluates and patience and self.without_gain >= patience and step < self.updates:
            self.stopped_early = True
            self.control.should_training_stop = True
        elif step < self.updates and self._checkpoint_due(step):
            self.save_checkpoint(step)

    def _dev(self, step: int) -> dict[str, float]:
        self.meter.drain()
        module = self.job.module
        with self.pace.paused(), self.average.in_place() if self.average is not None else nullcontext():
            dev = self._evaluated()
            value = dev[self.job.metric]
            if not all(part.counts(step) for part in self.staged):
                return dev
            if not math.isnan(value) and (self.best.metric is None or value > self.best.metric):
                self.best = Best(step, value, copied(weights_of(module)))
                self.without_gain = 0
            else:
                self.without_gain += 1
        return dev

    def _evaluated(self) -> dict[str, float]:
        """Dev, by the leader alone; the others are told the metric that decides."""
        job, dev = self.job, {self.job.metric: math.nan}
        assert job.evaluate is not None
        if job.group.leads:
            job.module.eval()
            # Uncompiled: dev is too short to pay for a second set of kernels.
            eager = torch.compiler.set_stance("force_eager") if job.options.compile else nullcontext()
            with eager, torch.random.fork_rng(devices=_cuda(job.device)):
                dev = {name: float(value) for name, value in job.evaluate().items()}
            job.module.train()
        return {**dev, job.metric: job.group.told(dev[job.metric])}

    def _remember(self, step: int, dev: dict[str, float]) -> None:
        loss, terms = self.meter.take()
        entry = {
            "step": step,
            "epoch": round(step / self.updates_per_epoch, 4),
            "loss": loss,
            "terms": terms,
            "lr": max(map(float, self._movers()[1].get_last_lr())),
            "dev": {name: value if math.isfinite(value) else None for name, value in dev.items()},
        }
        self.history.append(entry)
        for sink in self.job.sinks:
            sink.log(step, numbers(entry, self.pace.per_second()))

    def _checkpoint_due(self, step: int) -> bool:
        every = self.job.options.checkpoint_steps
        # The leader's clock, looked at before the update, so that all processes agree.
        return self.minutes_are_over or (bool(every) and step % every == 0)

    def save_checkpoint(self, step: int) -> None:
        """Write a checkpoint of this moment. Raises JobError instead when a pending loss is not finite."""
        with self.pace.paused():
            others = self.job.group.gathered(draws(self.job.device))
            if self.job.group.leads:
                self._write(step, others)
        self.saved_at = time.monotonic()

    def _write(self, step: int, all_draws: list[Tensor]) -> None:
        state = {
            "best_step": self.best.step,
            "best_metric": self.best.metric,
            "without_gain": self.without_gain,
            "history": self.history,
            "meter": self.meter.state(),
            "threads": torch.get_num_threads(),
        }
        optimizer, scheduler = self._movers()
        moving = {
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "generators": generators(),
            "draws": all_draws,
        }
        self.writer.write(
            step,
            self.job.module,
            self.best,
            moving=moving,
            state=state,
            trainer_state=dataclasses.asdict(self.state),
            average=self.average.weights if self.average is not None else None,
        )

    def let_go(self) -> None:
        """Drop the optimiser's moments and the best and average weights, several times the model, at once.

        The Trainer and what it holds refer to each other, so that they would outlive it until a collection.
        """
        if self.optimizer is not None:
            self.optimizer.state.clear()
        self.best, self.average = Best(self.best.step, self.best.metric), None

    def restore(self, state: Mapping[str, Any], best: Best, step: int, average: Weights | None) -> None:
        """Take back what `save_checkpoint` stored besides the Trainer's own."""
        if self.average is not None and average is not None:
            self.average.restore(average)
        self.best = best
        self.history = list(state["history"])
        self.without_gain = int(state["without_gain"])
        self.meter.restore(state["meter"])
        self.looked_at = step


def numbers(entry: Mapping[str, Any], per_second: float) -> dict[str, float]:
    """One entry of the history as flat names and finite numbers, for a tracker."""
    flat = {name: entry[name] for name in ("loss", "lr", "epoch")} | {"examples_per_second": per_second}
    flat |= {f"terms/{name}": value for name, value in entry["terms"].items()}
    flat |= {f"dev/{name}": value for name, value in entry["dev"].items()}
    return {name: float(value) for name, value in flat.items() if value is not None and math.isfinite(value)}


def evaluation_steps(updates: int, per_epoch: int, times: int) -> set[int]:
    """Updates after which dev is looked at: `times` per epoch, evenly, and the last one."""
    epochs = range(-(-updates // per_epoch))
    steps = {epoch * per_epoch + -(-per_epoch * part // times) for epoch in epochs for part in range(1, times + 1)}
    return {step for step in steps if step < updates} | {updates}


def _cuda(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []
