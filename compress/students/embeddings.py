"""A teacher's embeddings as its layers see them, and how a student's tables start from them.

Students may have tables as wide as their layers, or factorized ones (ALBERT, ELECTRA): narrow tables, a norm in the
narrow space, then a projection. The norm in between makes the factorization by singular values an approximation, except
where nothing is cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import Anatomy, anatomy_of
from compress.anatomy.blocks import features
from compress.shapes.low_rank import LowRankLinear
from compress.students.filling import Filling
from compress.students.narrowing import Narrowing, narrowed_norm
from compress.students.spectrum import across_ones, centred, principal

SAMPLE = 4096
AT_ONCE = 16384  # rows of a table that are in float64 at a time


@dataclass(frozen=True)
class Tables:
    """Embeddings in the hidden space: the first layer reads gain * normalised(word + position + type) + shift.

    words `[v, d]`, positions `[n, d]` from the first that a token takes, types `[t, d]` or None; gain, shift `[d]`.
    exact: whether that is what the teacher computes, rather than near it.
    """

    words: Tensor
    positions: Tensor
    types: Tensor | None
    gain: Tensor
    shift: Tensor
    exact: bool = True

    def without_types(self) -> Tables:
        """Type 0 added to the positions, which leaves the sum for a single text what it was."""
        return self if self.types is None else replace(self, positions=self.positions + self.types[0], types=None)


def stored_tables(teacher: PreTrainedModel) -> Tables:
    """The tables as the model holds them, with the norm that acts on them: of width E where they are factorized."""
    anatomy, body = anatomy_of(teacher), teacher.base_model

    def held(name: str) -> Tensor:
        return body.get_parameter(name).detach()

    words = held(f"{anatomy.word_embeddings}.weight")
    positions = held(f"{anatomy.position_embeddings}.weight")[anatomy.position_offset :]
    types = held(f"{anatomy.token_type_embeddings}.weight") if anatomy.token_type_embeddings else None
    gain, shift = (held(f"{anatomy.embedding_norm}.{kind}") for kind in ("weight", "bias"))
    return Tables(words, positions, types, gain, shift)


def tables_of(teacher: PreTrainedModel) -> Tables:
    """The tables of a model; factorized ones multiplied out, with one gain for all tokens in place of their own."""
    tables, projection = stored_tables(teacher), anatomy_of(teacher).projection(teacher)
    if projection is None:
        return tables
    words, positions, types, gain, shift = tables.words, tables.positions, tables.types, tables.gain, tables.shift
    matrix, bias = _matrix(projection), projection.get_parameter("bias").detach()

    def wide(table: Tensor) -> Tensor:
        return (centred(table).float() * gain) @ matrix.T

    sums = words[:SAMPLE] + positions[0] + (0 if types is None else types[0])
    before, after = centred(sums), centred(wide(sums))
    lengths = after.square().mean(1).sqrt() / before.square().mean(1).sqrt().clamp(min=1e-12)
    return Tables(
        words=wide(words),
        positions=wide(positions),
        types=None if types is None else wide(types),
        gain=lengths.mean().float().expand(len(bias)).clone(),
        shift=matrix @ shift + bias,
        exact=False,
    )


def table_moments(tables: Tables, counts: Tensor | None = None) -> Tensor:
    """`[d, d]` second moments of the centred tables, float64; each token takes one row of each table.

    counts: `[v]`, how often each word's row is taken; None: all alike.
    """
    shares = None if counts is None else counts.double() / counts.sum()
    found = [_second_moments(tables.words, shares), _second_moments(tables.positions, None)]
    if tables.types is not None:
        found.append(_second_moments(tables.types, None))
    return torch.stack(found).sum(0)


def _second_moments(table: Tensor, shares: Tensor | None) -> Tensor:
    """Of centred rows, each counting its share (None: all alike); in parts, since a whole vocabulary in float64 is
    twice its table."""
    shares = torch.full((len(table),), 1 / len(table), dtype=torch.float64) if shares is None else shares
    total = torch.zeros(table.shape[1], table.shape[1], dtype=torch.float64, device=table.device)
    for rows, share in zip(torch.split(table, AT_ONCE), torch.split(shares.to(table.device), AT_ONCE), strict=True):
        seen = centred(rows)
        total += seen.T @ (seen * share[:, None])
    return total


def kept_by_width(tables: Tables, counts: Tensor | None = None) -> Tensor:
    """`[d]`: the share of their energy that tables of width 1, 2, ... d keep, float64.

    A width keeps one direction less: the mean, which the norm takes out, needs one.
    """
    moments = table_moments(tables, counts)
    sizes = torch.linalg.eigvalsh(moments).clamp(min=0).flip(0)
    total = sizes.sum().clamp(min=torch.finfo(torch.float64).tiny)
    return torch.cat([sizes.new_zeros(1), sizes[:-1].cumsum(0) / total]).clamp(max=1)


@dataclass(frozen=True)
class Tied:
    """How a masked-token head's outputs go over to meet the student's tables: times `[x, e]`, the norm times gain."""

    space: Tensor
    gain: float = 1.0


@torch.no_grad()
def fill_embeddings(
    fill: Filling,
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    narrowing: Narrowing,
    counts: Tensor | None = None,
) -> tuple[list[str], Tied | None]:
    """Word, position and type embeddings, their norm, and the projection of factorized ones.

    counts: `[v]`, how much each word's row counts in a factorization; None: all alike.
    Returns facts for the manifest, and what the masked-token head needs (None for tables that were multiplied out).
    """
    one, two = anatomy_of(teacher), anatomy_of(student)
    theirs, mine = one.projection(teacher), two.projection(student)
    wide, size = (None if one is None else features(one)[0] for one in (theirs, mine))
    same = wide is not None and wide == size
    narrower = wide is not None and size is not None and size < wide
    tables = stored_tables(teacher) if narrower else tables_of(teacher)
    if same:
        assert theirs is not None and mine is not None and size is not None
        _fill_raw(fill, teacher, student)
        fill(mine.get_parameter("weight"), narrowing.hidden.T @ _matrix(theirs))
        fill(mine.get_parameter("bias"), theirs.get_parameter("bias") @ narrowing.hidden)
        facts = ["embedding tables and their norm, as they are", "projection to the width"]
        return facts, Tied(torch.eye(size))
    facts = [] if tables.exact else ["the teacher's factorized tables, multiplied out (nearly)"]
    if tables.types is not None and not two.token_type_embeddings:
        tables = tables.without_types()
        facts.append("token type 0, added to the positions")
    if mine is None or size is None:
        space, longer = narrowing.hidden, narrowing.gain
        _fill_tables(fill, student, tables, space)
        gain, shift = narrowed_norm(tables.gain, tables.shift, space, longer)
    else:
        space, kept = factors(tables, size, counts)
        _fill_tables(fill, student, tables, space)
        gain, shift = torch.ones(size), torch.zeros(size)
        longer = math.sqrt(len(space) * kept / size)
        outer, bias = narrowing.hidden.T, tables.shift
        if narrower:
            assert theirs is not None
            matrix = _matrix(theirs)
            outer, bias = outer @ matrix, matrix @ bias + theirs.get_parameter("bias")
        fill(mine.get_parameter("weight"), outer @ (longer * tables.gain[:, None] * space))
        fill(mine.get_parameter("bias"), bias @ narrowing.hidden)
        facts.append(f"tables and projection by singular values, {kept:.1%} of their energy")
    norm = student.base_model.get_submodule(two.embedding_norm)
    fill(norm.get_parameter("weight"), gain)
    fill(norm.get_parameter("bias"), shift)
    done = ["word embeddings", "position embeddings", "embedding norm", *_types(tables, two), *facts]
    return done, Tied(space, longer) if tables.exact else None


def _matrix(part: nn.Module) -> Tensor:
    """What a projection multiplies with, `[out, in]`."""
    return (part.product() if isinstance(part, LowRankLinear) else part.get_parameter("weight")).detach()


def factors(tables: Tables, size: int, counts: Tensor | None = None) -> tuple[Tensor, float]:
    """`[d, size]` map T of the tables into a narrow space, and the share of their energy that it keeps.

    Rows of `centred(table) @ T` have the mean 0, so that a norm there does nothing but set their length. Where nothing
    is cut, T is the identity. counts: `[v]`, how much each word's row counts; None: all alike.
    """
    if size == len(tables.gain):
        return torch.eye(size), 1.0
    found = principal(table_moments(tables, counts), min(size, len(tables.gain)) - 1)
    basis = across_ones(size)[:, : found.columns.shape[1]]
    return (found.columns @ basis.T).float(), found.kept


def _types(tables: Tables, student: Anatomy) -> list[str]:
    if not student.token_type_embeddings:
        return []
    return ["token types" if tables.types is not None else "token types, all zero: the teacher has none"]


def _fill_tables(fill: Filling, student: PreTrainedModel, tables: Tables, space: Tensor) -> None:
    anatomy, body = anatomy_of(student), student.base_model
    fill(body.get_parameter(f"{anatomy.word_embeddings}.weight"), tables.words @ space)
    positions = body.get_parameter(f"{anatomy.position_embeddings}.weight")
    fill.rows(positions, anatomy.position_offset, tables.positions @ space)
    if anatomy.token_type_embeddings:
        types = body.get_parameter(f"{anatomy.token_type_embeddings}.weight")
        fill.rows(types, 0, torch.zeros_like(types) if tables.types is None else tables.types @ space)


def _fill_raw(fill: Filling, teacher: PreTrainedModel, student: PreTrainedModel) -> None:
    """Factorized tables of the same width, without multiplying them out."""
    one, two = anatomy_of(teacher), anatomy_of(student)
    source, target = teacher.base_model, student.base_model
    for kind in ("weight", "bias"):
        fill(target.get_parameter(f"{two.embedding_norm}.{kind}"), source.get_parameter(f"{one.embedding_norm}.{kind}"))
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        theirs, mine = (f"{getattr(anatomy, name)}.weight" for anatomy in (one, two))
        fill.rows(target.get_parameter(mine), 0, source.get_parameter(theirs))
