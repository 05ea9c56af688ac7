"""AdamW that touches only the rows of an embedding that a batch has.

Most rows of a word embedding get no gradient in a step, yet AdamW moves all of them, and their gradient is written,
measured and read as zeros. What it does to a row without gradient is known beforehand: the moments shrink by their
betas, and the weight follows. So a row is left alone until it is read again, and is then moved by the sum of the steps
that it missed. The weights are those of AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101) up to rounding, decay
and momentum included; the lazy Adam of other libraries forgets both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

SMALLEST = 1 << 20  # entries of an embedding below which the whole of it is as quick
MEMORY = 256  # missed steps whose pull is summed up: 0.9 / sqrt(0.999) to this power is 2e-12


def row_embeddings(module: nn.Module) -> list[nn.Embedding]:
    """Large trained embeddings whose weight nothing else uses (an output layer tied to one reads all rows)."""
    holders: dict[int, int] = {}
    for child in module.modules():
        for value in child.parameters(recurse=False):
            holders[id(value)] = holders.get(id(value), 0) + 1
    return [
        child
        for child in module.modules()
        if isinstance(child, nn.Embedding)
        and child.weight.requires_grad
        and child.weight.numel() >= SMALLEST
        and child.weight.device.type == "cpu"
        and holders[id(child.weight)] == 1
        and child.max_norm is None
        and not child.scale_grad_by_freq
    ]


class RowAdamW(torch.optim.AdamW):
    """The fused AdamW, with `by_rows` of its parameters moved row by row.

    Before a row of those is read it must have been brought up to date (`catch_up`), and all of them before the weight
    is used as a whole (`settle`). The state of a row says up to which step it is.
    """

    def __init__(self, groups: list[dict[str, Any]], by_rows: list[nn.Parameter], **options: Any) -> None:
        super().__init__(groups, fused=True, **options)
        self.by_rows = by_rows
        self.grad_scale: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; sparse gradients `[v, d]` of the row-wise parameters go to their rows."""
        for group in self.param_groups:
            for value in group["params"]:
                if value.grad is not None and value.grad.is_sparse:
                    self._step_rows(value, group)
                    value.grad = None
        super().step()

    def catch_up(self, value: nn.Parameter, rows: Tensor | None = None) -> None:
        """Move rows (unique ids `[n]`; all when None) by the steps without gradient since they were last moved."""
        state = self.state.get(value)
        if not state:
            return
        last, done = state["last"], len(state["rates"])
        behind = torch.nonzero(last < done)[:, 0] if rows is None else rows[last[rows] < done]
        if not len(behind):
            return
        group = next(group for group in self.param_groups if any(one is value for one in group["params"]))
        with torch.no_grad():
            self._move(value.data, state, group, behind)
        last[behind] = done

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # type: ignore[override]
        """What `state_dict` gave; torch would turn step numbers and rates into the weight's dtype."""
        super().load_state_dict(state_dict)
        order = [value for group in self.param_groups for value in group["params"]]
        for index, held in state_dict["state"].items():
            for key in {"last", "rates"} & held.keys():
                self.state[order[index]][key] = held[key].clone()

    def settle(self) -> None:
        """Bring every row of every row-wise parameter up to date."""
        for value in self.by_rows:
            self.catch_up(value)

    def _step_rows(self, value: nn.Parameter, group: dict[str, Any]) -> None:
        state = self._state_of(value)
        assert value.grad is not None
        grad = value.grad.coalesce()
        rows, values = grad.indices()[0], grad.values()
        if self.grad_scale is not None:
            values = values / self.grad_scale
        self.catch_up(value, rows)
        (beta1, beta2), rate, at = group["betas"], float(group["lr"]), len(state["rates"]) + 1
        state["rates"] = torch.cat([state["rates"], torch.tensor([rate], dtype=torch.float64)])
        mean = state["exp_avg"][rows].lerp_(values, 1 - beta1)
        square = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(values, values, value=1 - beta2)
        bottom = square.sqrt().div_(math.sqrt(1 - beta2**at)).add_(group["eps"])
        weight = value.data[rows].mul_(1 - rate * group["weight_decay"])
        value.data[rows] = weight.addcdiv_(mean, bottom, value=-rate / (1 - beta1**at))
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square
        state["last"][rows] = at

    def _state_of(self, value: nn.Parameter) -> dict[str, Any]:
        state: dict[str, Any] = self.state[value]
        if not state:
            # `last`: the step up to which a row is moved. `rates`: the learning rate of every step so far.
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(value), torch.zeros_like(value)
            state["last"] = torch.zeros(len(value), dtype=torch.int64)
            state["rates"] = torch.zeros(0, dtype=torch.float64)
        return state

    def _move(self, weight: Tensor, state: dict[str, Any], group: dict[str, Any], rows: Tensor) -> None:
        (beta1, beta2), done = group["betas"], len(state["rates"])
        starts, place = torch.unique(state["last"][rows], return_inverse=True)
        pull, soft, kept = _missed(starts, state["rates"], beta1, beta2, group["weight_decay"])
        missed = (done - starts).double()
        exact = (pull, soft * group["eps"], kept, beta1**missed, beta2**missed)
        pull, eps, kept, fade1, fade2 = (values.to(weight.dtype)[place][:, None] for values in exact)
        mean, square = state["exp_avg"][rows], state["exp_avg_sq"][rows]
        weight[rows] = weight[rows] * kept - pull * mean / (square.sqrt() + eps)
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean * fade1, square * fade2


def read_rows(grad: Tensor) -> Tensor:
    """The entries of a gradient that are not zero by its making, for a norm."""
    return grad.coalesce().values() if grad.is_sparse else grad


def _missed(
    starts: Tensor, rates: Tensor, beta1: float, beta2: float, weight_decay: float
) -> tuple[Tensor, Tensor, Tensor]:
    """For rows last moved at each of `starts` `[n]`: how far m / (sqrt(v) + soft eps) of then pulls, soft, and what is
    left of w.

    Step s after start t does w <- w (1 - lr_s wd) - lr_s m beta1^(s-t) / (1 - beta1^s) / (sqrt(v beta2^(s-t)) / root_s
    + eps), where root_s is the root of 1 - beta2^s; `soft` is the mean of root_s / beta2^((s-t)/2) by those pulls.
    """
    done = len(rates)
    steps = torch.arange(1, done + 1, dtype=torch.float64)
    root = torch.sqrt(1 - beta2**steps)
    left = torch.cat([torch.zeros(1, dtype=torch.float64), torch.log1p(-rates * weight_decay).cumsum(0)])
    after = torch.arange(1, min(MEMORY, done - int(starts.min())) + 1)
    at = (starts[:, None] + after).clamp(max=done)
    there = starts[:, None] + after <= done
    softer = root[at - 1] * beta2 ** (-after.double() / 2)
    pulls = (rates / (1 - beta1**steps))[at - 1] * beta1 ** after.double() * softer * there
    pulls *= torch.exp(left[done] - left[at])
    pull = pulls.sum(1)
    soft = torch.where(pull > 0, (pulls * softer).sum(1) / pull, 1.0)  # a rate of 0, as a warm-up begins, pulls nothing
    return pull, soft, torch.exp(left[done] - left[starts])


@contextmanager
def read_by_rows(embeddings: list[nn.Embedding], optimizer: Callable[[], RowAdamW | None]) -> Iterator[None]:
    """Sparse gradients for these embeddings, and their rows brought up to date before they are read in training."""

    def before(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        found = optimizer()
        if module.training and found is not None:
            assert isinstance(module, nn.Embedding)
            found.catch_up(module.weight, torch.unique(given[0]))

    hooks = [embedding.register_forward_pre_hook(before) for embedding in embeddings]
    for embedding in embeddings:
        embedding.sparse = True
    try:
        yield
    finally:
        for hook, embedding in zip(hooks, embeddings, strict=True):
            hook.remove()
            embedding.sparse = False
