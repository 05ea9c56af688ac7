"""A Linear as the product of two thin matrices."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import initialization


class LowRankLinear(nn.Module):
    """`y = up (weight x) + bias`: `[..., in]` to `[..., out]` through `rank` numbers.

    `weight` `[rank, in]` has the name of a Linear's matrix and another shape, so that a stock class, which wants
    `[out, in]` under this name, refuses the weights instead of starting at random. `up` `[out, rank]`, `bias` `[out]`.
    It saves something only where `rank < in * out / (in + out)`. Raises ValueError for a rank outside 1 to
    min(in, out).
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= rank <= min(in_features, out_features):
            raise ValueError(f"rank {rank}: expected 1 to {min(in_features, out_features)}, the smaller side")
        self.in_features, self.out_features, self.rank = in_features, out_features, rank
        self.weight = nn.Parameter(torch.empty(rank, in_features, device=device, dtype=dtype))
        self.up = nn.Parameter(torch.empty(out_features, rank, device=device, dtype=dtype))
        self.register_parameter(
            "bias", nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset()

    def reset(self, std: float = 0.02) -> None:
        """Draw both factors so that an entry of their product has the standard deviation `std`; the bias is 0."""
        each = (std / self.rank**0.5) ** 0.5
        with torch.no_grad():  # transformers' functions leave alone what a checkpoint has filled
            initialization.normal_(self.weight, std=each)
            initialization.normal_(self.up, std=each)
            if self.bias is not None:
                initialization.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        return functional.linear(functional.linear(x, self.weight), self.up, self.bias)

    def factors(self) -> nn.Sequential:
        """The same as two Linear modules, one after the other, that hold these tensors."""
        down = nn.Linear(self.in_features, self.rank, bias=False, device="meta")
        up = nn.Linear(self.rank, self.out_features, bias=self.bias is not None, device="meta")
        down.weight, up.weight = self.weight, self.up
        if self.bias is not None:
            up.bias = self.bias
        return nn.Sequential(down, up).train(self.training)

    def product(self) -> Tensor:
        """The matrix `[out, in]` of the Linear that this is equal to."""
        return self.up @ self.weight

    def extra_repr(self) -> str:
        """Sizes, as nn.Linear prints them."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, rank={self.rank}, "
            f"bias={self.bias is not None}"
        )
