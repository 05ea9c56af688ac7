"""In which norm a matrix is cut: its own, that of what its outputs mean for the loss, or that of what it computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from compress.core.errors import InputError

FLOOR = 1e-9


@dataclass(frozen=True)
class Norm:
    """||rows W columns|| in place of ||W||, for a matrix W `[o, i]`; None is the identity.

    rows: `[o]` factors of its outputs. columns: `[i, i]` with columns columns^T the second moments of its inputs, and
    inverse its inverse.
    """

    rows: Tensor | None = None
    columns: Tensor | None = None
    inverse: Tensor | None = None

    def weighed(self, weight: Tensor) -> Tensor:
        """rows W columns, `[o, i]` float64."""
        found = weight.detach().double()
        if self.rows is not None:
            found = self.rows[:, None] * found
        return found if self.columns is None else found @ self.columns


PLAIN = Norm()


def by_rows(importance: Tensor) -> Norm:
    """Rows count by the root of their importance `[o]`: FWSVD (Hsu et al. 2022, arXiv 2207.00112).

    importance: the squared gradients of a row's weights, summed. A row without any keeps a trace of weight, so that
    the way back exists. Raises InputError when all are 0.
    """
    roots = importance.double().sqrt()
    if not float(roots.max()) > 0:
        raise InputError("by: fisher found no gradient in a matrix; use plain, or a model whose head reads it")
    return Norm(rows=roots.clamp(min=FLOOR**0.5 * float(roots.max())))


def by_inputs(moments: Tensor) -> Norm:
    """The error of the outputs on inputs with second moments `[i, i]`: SVD-LLM (Wang et al. 2024, arXiv 2403.07378).

    Directions that the inputs hardly have keep a trace of weight, so that the way back exists.
    """
    values, vectors = torch.linalg.eigh(moments.double())
    if not float(values[-1]) > 0:
        raise InputError("by: activation found only zeros before a matrix; use plain")
    roots = values.clamp(min=FLOOR * float(values[-1])).sqrt()
    return Norm(columns=vectors * roots, inverse=(vectors / roots).T)


@dataclass(frozen=True)
class Cuttable:
    """A matrix taken apart in a norm. left `[o, m]`, sizes `[m]` descending, right `[m, i]`, m the smaller side."""

    name: str
    left: Tensor
    sizes: Tensor
    right: Tensor
    norm: Norm

    @property
    def energies(self) -> Tensor:
        """`[m]`: squared singular values; those that are cut add up to the squared error in the norm."""
        return self.sizes.square()

    @property
    def outputs(self) -> int:
        """Rows o."""
        return self.left.shape[0]

    @property
    def inputs(self) -> int:
        """Columns i."""
        return self.right.shape[1]

    @property
    def most(self) -> int:
        """The largest rank at which two factors have fewer parameters than the matrix."""
        return (self.outputs * self.inputs - 1) // (self.outputs + self.inputs)

    def cost(self, rank: int) -> int:
        """Parameters of two factors of a rank, or of the matrix where they would have no fewer."""
        return min(rank * (self.outputs + self.inputs), self.outputs * self.inputs)

    def kept(self, rank: int) -> float:
        """Share of the energy at a rank."""
        total = float(self.energies.sum())
        return 1.0 if total == 0 else min(1.0, float(self.energies[:rank].sum()) / total)

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """`[rank, i]` and `[o, rank]`, float32, whose product is the matrix of this rank that is nearest in the norm.

        The roots of the singular values go to both sides, so that neither is far smaller than the other.
        """
        roots = self.sizes[:rank].sqrt()
        up, down = self.left[:, :rank] * roots, roots[:, None] * self.right[:rank]
        if self.norm.rows is not None:
            up = up / self.norm.rows[:, None]
        if self.norm.inverse is not None:
            down = down @ self.norm.inverse
        return down.float(), up.float()


def taken_apart(name: str, weight: Tensor, norm: Norm) -> Cuttable:
    """The singular values of a matrix in a norm; cutting the smallest is best there (Eckart and Young)."""
    left, sizes, right = torch.linalg.svd(norm.weighed(weight), full_matrices=False)
    return Cuttable(name, left, sizes, right, norm)
