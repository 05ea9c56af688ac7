"""Principal directions: optimal, kind to LayerNorms, and nothing lost where nothing is cut."""

from __future__ import annotations

import torch
from torch.nn.functional import layer_norm

from compress.students.spectrum import across_ones, aligned, along_ones, centred, gram, joint_maps, principal

WIDE, NARROW = 12, 5


def table(rows: int = 40) -> torch.Tensor:
    """Rows whose directions differ in strength, with means that are not 0."""
    draw = torch.Generator().manual_seed(3)
    return torch.randn(rows, WIDE, generator=draw) @ torch.randn(WIDE, WIDE, generator=draw) + 0.5


def test_no_projection_of_the_rank_leaves_less() -> None:
    """Prevents directions that are not the best: the rest is the tail of the singular values (Eckart and Young)."""
    rows = centred(table())
    found = principal(gram(table()), NARROW)
    left = (rows - rows @ found.columns @ found.columns.T).square().sum()
    sizes = torch.linalg.svdvals(rows)
    assert torch.isclose(left, sizes[NARROW:].square().sum())
    assert abs(found.kept - float(1 - left / rows.square().sum())) < 1e-9


def test_the_mean_stays_the_mean() -> None:
    """Prevents a LayerNorm that takes out another direction than the teacher's: norm and projection must commute."""
    space = aligned(principal(gram(table()), NARROW))
    assert torch.allclose(space.T @ space, torch.eye(NARROW + 1, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(space @ along_ones(NARROW + 1), along_ones(WIDE), atol=1e-10)
    inside = torch.randn(7, NARROW + 1, dtype=torch.float64) @ space.T  # states that the directions hold whole
    wide = layer_norm(inside, (WIDE,), eps=0)
    narrow = layer_norm(inside @ space, (NARROW + 1,), eps=0)
    assert torch.allclose(wide @ space, narrow * (WIDE / (NARROW + 1)) ** 0.5, atol=1e-10)


def test_all_directions_are_the_identity() -> None:
    """Prevents a needless turn: with nothing to cut the axes stay, and so do all gains of norms."""
    space = aligned(principal(gram(table()), WIDE - 1))
    assert torch.allclose(space, torch.eye(WIDE, dtype=torch.float64), atol=1e-9)


def test_an_empty_table_still_gives_directions() -> None:
    """Prevents a NaN, or the mean among the directions, from rows of lower rank than the width asked for."""
    low = torch.zeros(3, WIDE)
    low[0, 0], low[1, 1] = 2.0, 1.0
    found = principal(gram(low), 8)
    assert torch.isfinite(found.columns).all()
    assert torch.allclose(found.columns.T @ along_ones(WIDE), torch.zeros(8, dtype=torch.float64), atol=1e-9)
    assert across_ones(4).shape == (4, 3)


def test_a_narrower_head_is_the_best_low_rank_of_its_product() -> None:
    """Prevents heads cut by position: query times key is all that counts, and its best rank 2 is known."""
    draw = torch.Generator().manual_seed(4)
    left, right = (torch.randn(4, 9, generator=draw, dtype=torch.float64) for _ in range(2))
    one, two = joint_maps(left, right, 2)
    found = (one @ left).T @ (two @ right)
    vectors, sizes, others = torch.linalg.svd(left.T @ right)
    assert torch.allclose(found, vectors[:, :2] * sizes[:2] @ others[:2], atol=1e-10)
    one, two = joint_maps(left, right, 4)
    assert torch.allclose((one @ left).T @ (two @ right), left.T @ right, atol=1e-10)
