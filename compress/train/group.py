"""What the processes of one training exchange: sums, the leader's word, and texts of failures.

One process needs no torch.distributed: `join` then gives a group of one, whose exchanges give back what they got.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

from compress.core.errors import InputError, JobError
from compress.core.processes import Crew, Place, this_process

# While the leader prepares data or measures speed, for hours perhaps, the others wait. A process that dies does not
# leave them waiting: the launcher ends them.
PATIENCE = timedelta(days=30)
BUCKET = 1 << 20  # entries; smaller gradients travel together, since each exchange costs a round trip
_NEEDED = ("MASTER_ADDR", "MASTER_PORT")


class Group(Crew):
    """The processes that train one model together; every method is called by all of them, in the same order."""

    def total(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over the processes, in float64."""
        if self.world == 1:
            return list(values)
        summed = torch.tensor(list(values), dtype=torch.float64)
        with _lost_means_dead():
            dist.all_reduce(summed)
        return [float(value) for value in summed.tolist()]

    def told(self, value: float) -> float:
        """The leader's value, in every process."""
        if self.world == 1:
            return value
        held = torch.tensor([value], dtype=torch.float64)
        with _lost_means_dead():
            dist.broadcast(held, 0)
        return float(held)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, the same bits in all of them."""
        if self.world == 1:
            return
        large = [value for value in tensors if value.numel() >= BUCKET and value.is_contiguous()]
        alone = {id(value) for value in large}
        with _lost_means_dead():
            under_way = [dist.all_reduce(value, async_op=True) for value in large]
            for bucket in _buckets([value for value in tensors if id(value) not in alone]):
                flat = torch.cat([value.reshape(-1) for value in bucket])
                dist.all_reduce(flat)
                parts = torch.split(flat, [value.numel() for value in bucket])
                for value, part in zip(bucket, parts, strict=True):
                    value.copy_(part.view_as(value))
            for work in under_way:
                if work is not None:
                    work.wait()

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Put the leader's tensors into every process."""
        if self.world > 1:
            with _lost_means_dead():
                for value in tensors:
                    dist.broadcast(value, 0)

    def gathered(self, state: Tensor) -> list[Tensor]:
        """A tensor of one size, on the CPU, from every process by rank."""
        if self.world == 1:
            return [state]
        parts = [torch.empty_like(state) for _ in range(self.world)]
        with _lost_means_dead():
            dist.all_gather(parts, state)
        return parts

    def first_text(self, text: str) -> str:
        """The text of the lowest rank that has one; an empty one is none."""
        raw = text.encode()[: 1 << 12]
        held = torch.zeros(1 << 12, dtype=torch.uint8)
        held[: len(raw)] = torch.tensor(list(raw), dtype=torch.uint8)
        texts = [bytes(part.tolist()).rstrip(b"\0").decode(errors="replace") for part in self.gathered(held)]
        return next((found for found in texts if found), "")

    def meet(self) -> None:
        """Wait until every process is here."""
        self.total([0.0])

    def leave(self) -> None:
        """Wait for the others and close the connection."""
        if self.world > 1 and dist.is_initialized():
            self.meet()  # the leader's last word must have been read before its end of the line is closed
            dist.destroy_process_group()


@contextmanager
def _lost_means_dead() -> Iterator[None]:
    """A process that dies closes its connections: an exchange with it fails before the launcher ends this one."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise JobError(
            f"another process of this job ended ({reason}); the launcher tells which, and its own message why. Run the "
            "same command again, and training goes on from its newest checkpoint"
        ) from error


def join() -> Group:
    """The group of this job, connected: gloo between CPUs, nccl between GPUs. Called again, the same connection.

    Raises InputError for several processes without the launcher's address, and for more processes than GPUs.
    """
    here = this_process()
    if here.world > 1 and not dist.is_initialized():
        _connect(here)
    return Group(here)


def _connect(here: Place) -> None:
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        raise InputError(
            f"WORLD_SIZE is {here.world} and {' and '.join(missing)} is not set: start the processes with "
            "torchrun --nproc-per-node N -m compress run RECIPE (or accelerate launch), or unset WORLD_SIZE"
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(here.local % torch.cuda.device_count())
    # Gradients of a GPU go through nccl; what the processes tell each other lies on the CPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Tensors in order, of one dtype and at most BUCKET entries together."""
    buckets: list[list[Tensor]] = []
    size = 0
    for value in tensors:
        fits = buckets and size + value.numel() <= BUCKET and buckets[-1][0].dtype == value.dtype
        if not fits:
            buckets.append([])
            size = 0
        buckets[-1].append(value)
        size += value.numel()
    return buckets
