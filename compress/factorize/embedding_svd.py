"""Embedding tables as a narrow table times a projection: V x H becomes V x E and E x H."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.factorize.base import FACTORIZERS, Factorized, Factorizer, Job
from compress.factorize.own_tables import hidden_tables, kept_behind, narrowed_inside, own_anatomy
from compress.factorize.rehoused import has_dense_head, plain_anatomy, rehoused
from compress.students.albert import albert_config
from compress.students.electra import ElectraStudent
from compress.students.embeddings import kept_by_width, stored_tables
from compress.students.shape import shape_of

NARROWEST = 4


@FACTORIZERS.register("embedding_svd")
class EmbeddingSvd(Factorizer):
    """The best tables of their width by the singular values of the trained ones (Lan et al. 2020, arXiv 1909.11942).

    The model moves to a stock architecture that can hold them: ALBERT, with a group of its own for every layer, keeps
    the layers, BERT's pooler and RoBERTa's head as they are; ELECTRA has the same layers, no pooler, and a gelu in the
    head of whole texts. Both put the norm of the embeddings behind the narrow tables and before the projection, where a
    norm does otherwise than in the wide space, so this is a start that `distil` repairs and not the model as it was.
    DeBERTa-v2 and v3 have such tables themselves, with the norm behind the projection: they stay what they are, and
    nothing but what was cut is lost.
    """

    width: int | None = Field(None, ge=NARROWEST, description="width E of the tables")
    energy: float | None = Field(
        None, gt=0, lt=1, description="instead: the least width that keeps this share of the tables' energy"
    )
    ratio: float | None = Field(
        None, gt=0, lt=1, description="instead: the largest width at which the embeddings have this share of their "
        "parameters, the projection counted"
    )  # fmt: skip
    multiple: int = Field(8, ge=1, description="widths that follow from energy or ratio are multiples of it")
    weighted: bool = Field(
        True, description="a token counts as often as it stands in the training texts; false: every row alike"
    )
    into: Literal["auto", "electra", "albert"] = Field(
        "auto",
        description="the architecture; auto: the one that changes nothing in the layers and the head (DeBERTa "
        "keeps its own)",
    )

    @model_validator(mode="after")
    def _one_size(self) -> EmbeddingSvd:
        given = [name for name in ("width", "energy", "ratio") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of width, energy and ratio, came {', '.join(given) or 'none'}")
        if self.width is not None and "multiple" in self.model_fields_set:
            raise ValueError("multiple: rounds widths that follow from energy or ratio, and `width` is given; leave it")
        return self

    @torch.no_grad()
    def factorize(self, job: Job) -> Factorized:
        """Raises InputError for a family without such an architecture, and for tables that would not be narrower."""
        model, inside = job.model, self.into == "auto" and own_anatomy(job.model) is not None
        if not inside:
            plain_anatomy(model, "embedding_svd")
        counts = self._counts(job)
        tables = hidden_tables(model) if inside else stored_tables(model)
        kept = kept_behind(tables, counts) if inside else kept_by_width(tables, counts)
        width = self._width(_Cost.of(model, inside), kept)
        if inside:
            made = narrowed_inside(model, tables, width, counts)
        else:
            own = {number: (number,) for number in range(1, anatomy_of(model).depth(model) + 1)}
            made = rehoused(model, job.auto_class, self._config(model, width), dict(own), counts)
            made.lost.insert(0, "the norm of the embeddings acts on the narrow tables")
        made.facts |= {"embedding": width, "kept_energy": round(float(kept[width - 1]), 6), "weighted": self.weighted}
        return made

    def _counts(self, job: Job) -> Tensor | None:
        if not self.weighted:
            return None
        if job.counts is None:
            raise InputError("weighted: counts the tokens of training texts, and there are none; set it to false")
        return job.counts()

    def _width(self, cost: _Cost, kept: Tensor) -> int:
        wide = cost.wide
        if self.width is not None:
            width = self.width
        elif self.energy is not None:
            width = _rounded(1 + int((kept < self.energy).sum()), self.multiple, up=True)
        else:
            width = _rounded(cost.most(float(self.ratio or 0)), self.multiple)
            if width < NARROWEST:
                least = cost.share(max(NARROWEST, self.multiple))
                raise InputError(f"ratio: {self.ratio} of the embeddings hold no table; use at least {least:.3f}")
        if width >= wide:
            raise InputError(
                f"embedding_svd: tables of width {width} are not narrower than the model's, which are {wide} wide; "
                f"use a width below {wide}" + ("" if self.width else f", or a smaller {self._asked()}")
            )
        return width

    def _asked(self) -> str:
        return "energy" if self.energy is not None else "ratio"

    def _config(self, model: PreTrainedModel, width: int) -> PreTrainedConfig:
        shape = shape_of(model)
        if self._into(model) == "electra":
            student = ElectraStudent(embedding=width, layers="all")
            return student.config(model, student.shape(shape))
        return albert_config(model, replace(shape, embedding=width), groups=groups_of(model))

    def _into(self, model: PreTrainedModel) -> str:
        if self.into != "auto":
            return self.into
        if stock_family(model.config) == "albert":
            return "albert"
        pooled = has_dense_head(model) and anatomy_of(model).head_activation == "tanh"
        return "albert" if pooled else "electra"


@dataclass(frozen=True)
class _Cost:
    """Parameters of the embeddings: `each` for every feature of the tables, `fixed` beside them, `whole` as they are.

    wide: the width of the tables as they are.
    """

    wide: int
    each: int
    fixed: int
    whole: int

    @classmethod
    def of(cls, model: PreTrainedModel, inside: bool) -> _Cost:
        """inside: in the family's own class, whose norm is as wide as the layers and whose projection has no bias."""
        shape, anatomy, held = shape_of(model), anatomy_of(model), dict(model.base_model.named_parameters())
        names = (anatomy.word_embeddings, anatomy.position_embeddings, anatomy.token_type_embeddings)
        rows = sum(len(held[f"{name}.weight"]) for name in names if f"{name}.weight" in held) - anatomy.position_offset
        wide, hidden = shape.embedding, shape.width
        each, fixed = (rows + hidden, 2 * hidden) if inside else (rows + 2 + hidden, hidden)
        whole = each * wide + fixed if wide < hidden else rows * wide + 2 * wide
        return cls(wide, each, fixed, whole)

    def most(self, share: float) -> int:
        """The largest width whose embeddings have at most this share of the parameters."""
        return int((share * self.whole - self.fixed) / self.each)

    def share(self, width: int) -> float:
        """The share of the parameters that embeddings of this width have."""
        return (self.each * width + self.fixed) / self.whole


def groups_of(model: PreTrainedModel) -> int:
    """How many groups of layers with weights of their own a model has. Raises InputError for groups within groups."""
    config = model.config
    if int(getattr(config, "inner_group_num", 1)) != 1:
        raise InputError(f"an ALBERT with {config.inner_group_num} layers in a group cannot be laid out anew; use 1")
    return int(getattr(config, "num_hidden_groups", 0)) or anatomy_of(model).depth(model)


def _rounded(width: int, multiple: int, *, up: bool = False) -> int:
    return -(-width // multiple) * multiple if up else width // multiple * multiple
