"""Matrices of the layers as products of two thin ones."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.anatomy.blocks import names_of, stored_layers
from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.factorize.base import FACTORIZERS, Factorized, Factorizer, Job
from compress.factorize.norms import PLAIN, Cuttable, Norm, by_inputs, by_rows, taken_apart
from compress.factorize.ranks import Rank, ranks_of, ranks_under
from compress.factorize.seen import input_moments, row_importance
from compress.importance.base import Evidence
from compress.shapes.low_rank import LowRankLinear
from compress.shapes.settle import settle
from compress.train.zeros import refuse

Matrix = Literal["query", "key", "value", "attention_output", "ffn_in", "ffn_out"]
MATRICES: tuple[Matrix, ...] = ("query", "key", "value", "attention_output", "ffn_in", "ffn_out")


@FACTORIZERS.register("low_rank")
class LowRank(Factorizer):
    """Truncated singular values of the layers' matrices: `[o, i]` becomes `[o, r]` times `[r, i]`.

    It saves parameters and multiplications where r < o i / (o + i); a matrix whose rank would not is left as it is.
    `plain` cuts what is smallest in the matrix itself, `fisher` what the loss feels least (FWSVD, Hsu et al. 2022,
    arXiv 2207.00112), `activation` what the outputs on training texts change least by (SVD-LLM, Wang et al. 2024,
    arXiv 2403.07378).
    """

    rank: Rank | None = Field(None, description="the rank of each matrix: {ratio: 0.5}, {energy: 0.9} or {rank: 64}")
    budget: float | None = Field(
        None, gt=0, lt=1, description="instead: share of the parameters of all chosen matrices that may be left; ranks "
        "go where a parameter keeps most energy"
    )  # fmt: skip
    modules: list[Matrix] = Field(
        list(MATRICES), min_length=1, description="which matrices; those whose rank would not pay stay as they are"
    )
    by: Literal["plain", "fisher", "activation"] = Field("plain", description="in which norm the cut is smallest")
    samples: int = Field(256, ge=1, description="training texts that fisher and activation look at")

    @model_validator(mode="after")
    def _one_size(self) -> LowRank:
        if (self.rank is None) == (self.budget is None):
            came = "came neither" if self.rank is None else "came both"
            raise ValueError(f"expected `rank: {{ratio: 0.5}}` or `budget: 0.5`, {came}")
        if self.by == "plain" and "samples" in self.model_fields_set:
            raise ValueError("samples: plain looks at no texts; leave it out, or use fisher or activation")
        twice = {name for name in self.modules if self.modules.count(name) > 1}
        if twice:
            raise ValueError(f"modules: {', '.join(sorted(twice))} stands twice; name each once")
        return self

    def factorize(self, job: Job) -> Factorized:
        """Raises InputError when no matrix would shrink, for matrices that are no Linear, and for pruned weights."""
        refuse(job.model, "low_rank")
        names = self._names(job.model)
        matrices = self._taken_apart(job, names)
        if self.budget is not None:
            # What fisher measures is loss, in every matrix; the other two have units of their own in each.
            ranks = ranks_under(matrices, self.budget, alike=self.by != "fisher")
        else:
            assert self.rank is not None
            ranks = ranks_of(matrices, self.rank)
        chosen = {one.name: (one, rank) for one in matrices if (rank := ranks[one.name]) is not None}
        if not chosen:
            one = matrices[0]
            raise InputError(
                f"low_rank: no matrix would shrink; {one.name} ({one.outputs} x {one.inputs}) has fewer parameters up "
                f"to rank {one.most}. Use a smaller rank, ratio, energy or budget"
            )
        model = copy.deepcopy(job.model)
        for name, (matrix, rank) in chosen.items():
            _replace(model, name, matrix, rank)
        return Factorized(settle(model).train(False), _facts(matrices, ranks))

    def _names(self, model: PreTrainedModel) -> list[str]:
        """The dotted names of the chosen matrices of every stored layer."""
        anatomy, places = anatomy_of(model), names_of(model)
        found = []
        for layer in stored_layers(anatomy.layer_list(model)):
            for role in self.modules:
                name = f"{places[layer]}.{getattr(anatomy, role, '')}"
                part = _part(model, name)
                if isinstance(part, LowRankLinear):
                    raise InputError(
                        f"low_rank: {name} is low-rank already; start from the model that it was made from"
                    )
                if not isinstance(part, nn.Linear):
                    raise InputError(
                        f"low_rank: {role} of {stock_family(model.config)} is no matrix of its own; leave it out of "
                        f"`modules`, or use a family whose layers have one"
                    )
                found.append(name)
        return found

    @torch.no_grad()
    def _taken_apart(self, job: Job, names: list[str]) -> list[Cuttable]:
        norms: dict[str, Norm] = dict.fromkeys(names, PLAIN)
        if self.by == "fisher":
            with torch.enable_grad():
                found = row_importance(job.model, names, self._texts(job))
            norms = {name: by_rows(found[name]) for name in names}
        elif self.by == "activation":
            found = input_moments(job.model, names, self._texts(job))
            norms = {name: by_inputs(found[name]) for name in names}
        return [taken_apart(name, job.model.get_submodule(name).get_parameter("weight"), norms[name]) for name in names]

    def _texts(self, job: Job) -> Evidence:
        if job.texts is None:
            raise InputError(f"by: {self.by} looks at training texts, and there are none; use plain")
        return job.texts(self.samples)


def _part(model: PreTrainedModel, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def _replace(model: PreTrainedModel, name: str, matrix: Cuttable, rank: int) -> None:
    place, _, last = name.rpartition(".")
    before = model.get_submodule(name)
    assert isinstance(before, nn.Linear)
    made = LowRankLinear(matrix.inputs, matrix.outputs, rank, bias=before.bias is not None)
    down, up = matrix.factors(rank)
    with torch.no_grad():
        made.weight.copy_(down)
        made.up.copy_(up)
        if made.bias is not None:
            made.bias.copy_(before.bias)
    setattr(model.get_submodule(place), last, made)


def _facts(matrices: list[Cuttable], ranks: dict[str, int | None]) -> dict[str, Any]:
    """Ranks and kept energies by matrix; the matrices that stay; the parameters of all, before and after."""
    after = 0
    for one in matrices:
        rank = ranks[one.name]
        after += one.outputs * one.inputs if rank is None else one.cost(rank)
    return {
        "ranks": {name: rank for name, rank in ranks.items() if rank is not None},
        "unchanged": [name for name, rank in ranks.items() if rank is None],
        "kept_energy": {one.name: round(one.kept(r), 6) for one in matrices if (r := ranks[one.name]) is not None},
        "matrices": {"before": sum(one.outputs * one.inputs for one in matrices), "after": after},
    }
