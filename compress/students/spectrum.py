"""Principal directions of a hidden space, laid so that a LayerNorm in fewer dimensions still does what it did.

A LayerNorm takes the mean out of a state, which is its part along (1, ..., 1). Directions that carry the teacher's
mean to the student's, and keep all others at right angles to it, make the two norms agree up to the length of what is
cut away; with nothing cut they agree exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Directions:
    """columns: `[d, k]`, orthonormal and at right angles to (1, ..., 1). kept: share of the energy along them."""

    columns: Tensor
    kept: float


def centred(rows: Tensor) -> Tensor:
    """Rows `[n, d]` without their means, as a LayerNorm sees them, in float64."""
    exact = rows.double()
    return exact - exact.mean(1, keepdim=True)


def gram(rows: Tensor) -> Tensor:
    """`[d, d]` second moments of centred rows, scaled to the trace 1 so that several can be added."""
    seen = centred(rows)
    found = seen.T @ seen
    return found / found.trace().clamp(min=torch.finfo(torch.float64).tiny)


def principal(moments: Tensor, count: int) -> Directions:
    """The `count` < d directions of most energy in a `[d, d]` matrix of second moments, the mean's own left out.

    By the theorem of Eckart and Young, no other projection of rank `count` leaves less of the rows that it was made of.
    """
    mean = along_ones(len(moments))
    moments = moments - moments.mean(0, keepdim=True)
    moments = moments - moments.mean(1, keepdim=True)
    # The mean's own direction holds nothing now; a negative value keeps it last among other empty ones.
    values, vectors = torch.linalg.eigh(moments - (1 + moments.trace()) * torch.outer(mean, mean))
    order = values.argsort(descending=True)[:count]
    total = moments.trace().clamp(min=torch.finfo(torch.float64).tiny)
    return Directions(vectors[:, order], float((values[order].clamp(min=0).sum() / total).clamp(max=1)))


def along_ones(size: int) -> Tensor:
    """The unit vector along (1, ..., 1), float64."""
    return torch.full((size,), size**-0.5, dtype=torch.float64)


def across_ones(size: int) -> Tensor:
    """`[size, size - 1]` orthonormal columns at right angles to (1, ..., 1), float64."""
    start = torch.cat([along_ones(size)[:, None], torch.eye(size, size - 1, dtype=torch.float64)], 1)
    basis: Tensor = torch.linalg.qr(start).Q
    return basis[:, 1:]


def aligned(directions: Directions) -> Tensor:
    """`[d, k + 1]` orthonormal: the directions and the mean, turned to lie as near to single axes as they can.

    The turn is free, and gains and shifts of a norm go over the better the fewer axes are mixed. It solves the
    orthogonal Procrustes problem towards the k + 1 axes that the directions reach most; with every direction there is
    to keep, the result is the identity.
    """
    columns = directions.columns
    wide, narrow = columns.shape[0], columns.shape[1] + 1
    axes = columns.square().sum(1).topk(narrow).indices.sort().values
    basis = across_ones(narrow)
    left, _, right = torch.linalg.svd(basis.T @ columns[axes])
    turn = right.T @ left.T
    found: Tensor = torch.outer(along_ones(wide), along_ones(narrow)) + columns @ turn @ basis.T
    return found


def joint_maps(left: Tensor, right: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Maps A, B `[rank, e]` such that (A left)^T (B right) is the best of its rank to left^T right.

    left, right: `[e, m]` and `[e, n]`, the two matrices of one head whose product is all that the head shows.
    """
    one, two = torch.linalg.qr(left.double().T).R, torch.linalg.qr(right.double().T).R
    first, sizes, second = torch.linalg.svd(one @ two.T, full_matrices=False)
    first, sizes, second = first[:, :rank], sizes[:rank], second[:rank]
    scale = torch.where(sizes > sizes.max() * 1e-12, sizes, torch.inf).rsqrt()
    return scale[:, None] * (second @ two), scale[:, None] * (first.T @ one)
