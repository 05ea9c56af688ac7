"""One update of several processes: the same losses, the same gradients and the same decisions in all of them.

Why not DistributedDataParallel: a loss here runs the student through hooks, calls it as body or as whole, and may run
it twice, which its wrapped `forward` does not see; it weighs all processes alike, though the last batch may be
uneven; and a NaN in one process leaves the others waiting. Gradients are summed once per update, after the last
batch of it, so nothing is exchanged while batches accumulate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from compress.core.errors import JobError
from compress.train.group import Group
from compress.train.meter import Meter, Observed


class Accord:
    """Stands between the loop and the meter; alone, it hands through what it gets."""

    def __init__(self, group: Group, meter: Meter, trained: Sequence[nn.Parameter]) -> None:
        self.group = group
        self.meter = meter
        self.trained = list(trained)
        self._pending: list[tuple[Observed, float]] = []

    def saw(self, seen: Observed, share: float) -> None:
        """One forward pass of this process, which has `share` of the batch's rows.

        Alone, raises JobError for a loss that is not finite at once, before its gradient is computed.
        """
        if self.group.world == 1:
            self.meter.add(seen)
        else:
            self._pending.append((seen, share))

    def settle(self, wish: bool) -> bool:
        """Before an update is applied: exchange losses, then gradients. Returns what the leader wishes.

        Raises JobError, the same in every process, when a loss of any of them is not finite.
        """
        if self.group.world == 1:
            return wish
        pending, self._pending = self._pending, []
        losses = [float(seen.loss) * share for seen, share in pending]
        terms = [float(term) * share for seen, share in pending for term in seen.terms.values()]
        wishes = [float(wish and self.group.leads)]
        moved = [float(value.grad is not None) for value in self.trained]
        summed = self.group.total([*losses, *terms, *wishes, *moved])
        if not all(math.isfinite(loss) for loss in summed[: len(losses)]):
            own = next((text for seen, _ in pending if (text := self.meter.failure(seen))), "")
            raise JobError(self.group.first_text(own))
        after = summed[len(losses) :]
        for (seen, _), loss in zip(pending, summed, strict=False):
            names = list(seen.terms)
            self.meter.add(replace(seen, loss=torch.tensor(loss), terms=dict(zip(names, after, strict=False))))
            after = after[len(names) :]
        self._sum_gradients(after[1:])
        return bool(after[0])

    def _sum_gradients(self, moved: Sequence[float]) -> None:
        """A weight that any process has a gradient for gets the sum; the others stay untouched, as they do alone."""
        used = [value for value, count in zip(self.trained, moved, strict=True) if count]
        for value in used:
            if value.grad is None:
                value.grad = torch.zeros_like(value)
        self.group.add_up([value.grad for value in used if value.grad is not None])
