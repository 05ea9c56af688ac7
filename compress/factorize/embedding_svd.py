"""Embedding tables as a narrow table times a projection: V x H becomes V x E and E x H."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.factorize.base import FACTORIZERS, Factorized, Factorizer, Job
from compress.factorize.rehoused import has_dense_head, plain_anatomy, rehoused
from compress.students.albert import albert_config
from compress.students.electra import ElectraStudent
from compress.students.embeddings import Tables, kept_by_width, stored_tables
from compress.students.shape import shape_of

NARROWEST = 4


@FACTORIZERS.register("embedding_svd")
class EmbeddingSvd(Factorizer):
    """The best tables of their width by the singular values of the trained ones (Lan et al. 2020, arXiv 1909.11942).

    The model moves to a stock architecture that can hold them: ALBERT, with a group of its own for every layer, keeps
    the layers, BERT's pooler and RoBERTa's head as they are; ELECTRA has the same layers, no pooler, and a gelu in the
    head of whole texts. Both put the norm of the embeddings behind the narrow tables and before the projection, where a
    norm does otherwise than in the wide space, so this is a start that `distil` repairs and not the model as it was.
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
        "auto", description="the architecture; auto: the one that changes nothing in the layers and the head"
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
        model = job.model
        plain_anatomy(model, "embedding_svd")
        counts = self._counts(job)
        tables = stored_tables(model)
        kept = kept_by_width(tables, counts)
        width = self._width(tables, kept, shape_of(model).width)
        config = self._config(model, width)
        own = {number: (number,) for number in range(1, anatomy_of(model).depth(model) + 1)}
        made = rehoused(model, job.auto_class, config, dict(own), counts)
        made.facts |= {"embedding": width, "kept_energy": round(float(kept[width - 1]), 6), "weighted": self.weighted}
        made.lost.insert(0, "the norm of the embeddings acts on the narrow tables")
        return made

    def _counts(self, job: Job) -> Tensor | None:
        if not self.weighted:
            return None
        if job.counts is None:
            raise InputError("weighted: counts the tokens of training texts, and there are none; set it to false")
        return job.counts()

    def _width(self, tables: Tables, kept: Tensor, hidden: int) -> int:
        wide = len(tables.gain)
        if self.width is not None:
            width = self.width
        elif self.energy is not None:
            width = _rounded(1 + int((kept < self.energy).sum()), self.multiple, up=True)
        else:
            rows = sum(len(one) for one in (tables.words, tables.positions, tables.types) if one is not None)
            whole = rows * wide + 2 * wide + (wide * hidden + hidden if wide < hidden else 0)
            width = _rounded(int((float(self.ratio or 0) * whole - hidden) / (rows + 2 + hidden)), self.multiple)
            if width < NARROWEST:
                least = ((rows + 2 + hidden) * max(NARROWEST, self.multiple) + hidden) / whole
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


def groups_of(model: PreTrainedModel) -> int:
    """How many groups of layers with weights of their own a model has. Raises InputError for groups within groups."""
    config = model.config
    if int(getattr(config, "inner_group_num", 1)) != 1:
        raise InputError(f"an ALBERT with {config.inner_group_num} layers in a group cannot be laid out anew; use 1")
    return int(getattr(config, "num_hidden_groups", 0)) or anatomy_of(model).depth(model)


def _rounded(width: int, multiple: int, *, up: bool = False) -> int:
    return -(-width // multiple) * multiple if up else width // multiple * multiple
