"""Fewer sets of layer weights than layers: groups of neighbours run the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.factorize.base import FACTORIZERS, Factorized, Factorizer, Job
from compress.factorize.embedding_svd import NARROWEST, groups_of
from compress.factorize.rehoused import plain_anatomy, rehoused
from compress.students.albert import albert_config
from compress.students.embeddings import kept_by_width, stored_tables
from compress.students.shape import shape_of


@FACTORIZERS.register("share_layers")
class ShareLayers(Factorizer):
    """A stock ALBERT (Lan et al. 2020, arXiv 1909.11942) whose groups of layers start from the model's layers.

    It runs as many layers as before, so it is smaller and no faster. Embeddings and head go over as they are; the
    projection behind the tables is the identity with the gains of their norm, unless `width` makes them narrower.
    A group starts from the mean of its layers or from one of them (Bae et al. 2025, arXiv 2410.20672, compare such
    starts); either way distillation must repair it.
    """

    groups: int = Field(1, ge=1, description="sets of weights; each serves as many neighbouring layers as the others")
    start: Literal["average", "anchor"] = Field("average", description="the mean of a group's layers, or one of them")
    anchor: int = Field(1, ge=1, description="with start: anchor, which layer of each group, from 1")
    width: int | None = Field(
        None, ge=NARROWEST, description="narrower embedding tables too, as embedding_svd makes them; null: as they are"
    )
    weighted: bool = Field(True, description="with width: tokens count as often as they stand in the training texts")

    @model_validator(mode="after")
    def _read(self) -> ShareLayers:
        given = self.model_fields_set
        if self.start == "average" and "anchor" in given:
            raise ValueError("anchor: is read with `start: anchor` only; leave it out, or say so")
        if self.width is None and "weighted" in given:
            raise ValueError("weighted: is read with `width` only; leave it out, or give the tables a width")
        return self

    def keeps_matrices(self) -> bool:
        """A mean of layers fills zeros."""
        return self.start == "anchor"

    @torch.no_grad()
    def factorize(self, job: Job) -> Factorized:
        """Raises InputError for a family that ALBERT cannot hold, and for groups that do not divide the layers."""
        model = job.model
        plain_anatomy(model, "share_layers")
        shape = shape_of(model)
        if groups_of(model) == 1:
            family = stock_family(model.config)
            raise InputError(
                f"share_layers: this {family} has one set of layer weights already; nothing is left to share"
            )
        sources = self._sources(shape.layers, groups_of(model))
        counts, facts = self._tables(job, shape.embedding)
        config = albert_config(model, replace(shape, embedding=self.width or shape.embedding), groups=self.groups)
        made = rehoused(model, job.auto_class, config, sources, counts)
        made.facts |= {"groups": self.groups, "start": self.start, **facts}
        made.lost.insert(0, f"{shape.layers} layers run {self.groups} of their weights")
        return made

    def _sources(self, layers: int, stored: int) -> dict[int, Sequence[int]]:
        """Layer to the layers that its weights start from, from 1."""
        if self.groups > layers or layers % self.groups:
            fitting = [count for count in range(1, layers) if layers % count == 0]
            raise InputError(
                f"groups: {self.groups} do not share {layers} layers evenly; use one of {', '.join(map(str, fitting))}"
            )
        if self.groups >= stored:
            raise InputError(
                f"groups: the model has {stored} sets of layer weights, and {self.groups} are no fewer; use a smaller "
                f"number that divides {layers}"
            )
        size = layers // self.groups
        if self.start == "anchor" and self.anchor > size:
            raise InputError(f"anchor: {self.anchor} is past a group's {size} layers; use 1 to {size}")
        sources: dict[int, Sequence[int]] = {}
        for layer in range(layers):
            first = layer // size * size + 1
            sources[layer + 1] = range(first, first + size) if self.start == "average" else (first + self.anchor - 1,)
        return sources

    def _tables(self, job: Job, wide: int) -> tuple[Tensor | None, dict[str, float | int]]:
        """How much each token counts, and facts of narrower tables."""
        if self.width is None:
            return None, {}
        if self.width >= wide:
            raise InputError(f"width: tables of {self.width} are not narrower than the model's {wide}; leave it out")
        counts = None
        if self.weighted:
            if job.counts is None:
                raise InputError("weighted: counts the tokens of training texts, and there are none; set it to false")
            counts = job.counts()
        kept = kept_by_width(stored_tables(job.model), counts)
        return counts, {"embedding": self.width, "kept_energy": round(float(kept[self.width - 1]), 6)}
