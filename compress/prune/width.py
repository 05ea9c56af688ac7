"""`width`: hidden units out of the whole model, and heads with them."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from compress.anatomy.base import Anatomy, structure_of
from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.prune.allot import nearest, refuse_too_few
from compress.prune.base import PRUNERS, Change, Job, Pruner
from compress.prune.kept_units import UnitPlan, keep_units
from compress.prune.masking import units_of
from compress.prune.proof import prove
from compress.shapes.settle import settle

PROVEN_ON = 2


@PRUNERS.register("width")
class Width(Pruner):
    """The hidden size, with the heads of every layer in the same ratio, so that a stock model is what is left.

    Embeddings, norms, every matrix and the head lose the same units. This hurts more than any other cut (a norm takes
    its statistics over fewer units) and wants recovery by `distill`. Neurons of feed-forwards stay: `ffn` cuts them.
    """

    order: ClassVar[int] = 30
    reads: ClassVar[frozenset[str]] = frozenset({"heads", "hidden"})

    ratio: float = Field(gt=0, lt=1, description="share of the hidden size that goes, rounded to whole heads")

    def cut(self, job: Job) -> Change:
        """Raises InputError where nothing would go, for layers of different heads, and for families without a width."""
        model, structure = job.model, structure_of(job.model)
        if not isinstance(structure, Anatomy):
            family = stock_family(model.config)
            raise InputError(f"width: that of a {family} cannot be cut; use heads, ffn, depth or vocab, or an encoder")
        scores = job.importance.score(model, self.reads, job.evidence)
        units = units_of(model, scores, ["heads"], job.multiple)
        alike = {len(unit.scores) for unit in units}
        if len(alike) > 1:
            raise InputError(
                f"width: layers keep different numbers of heads ({min(alike)} to {max(alike)}), and width takes "
                f"the same share of all, as a stock model needs; let `width` come before `heads`"
            )
        width = structure.width(model)
        refuse_too_few("width", units[:1], 1 - self.ratio)
        count = nearest(units[0], 1 - self.ratio)
        if count == units[0].counts[-1]:
            raise InputError(
                f"width: a ratio of {self.ratio:g} takes none of {count} heads, so nothing is pruned; a layer may keep "
                f"{', '.join(map(str, units[0].counts))}"
            )
        assert scores.hidden is not None, "a criterion of hidden units gives scores of hidden units"
        left = width * count // units[0].counts[-1]
        hidden = _best(scores.hidden, left)
        heads = {name: _best(unit.scores, min(count, len(unit.scores))) for unit in units for name in unit.names}
        smaller = keep_units(model, hidden, heads)
        proof = prove(model, smaller, UnitPlan(hidden, heads), job.evidence.batches[:PROVEN_ON])
        facts = {"width": [width, left], "heads": [units[0].counts[-1], count], "proof": proof}
        return Change(settle(smaller), job.tokenizer, facts)


def _best(scores: Tensor, count: int) -> Tensor:
    """Indices of the best, ascending."""
    return scores.sort(descending=True, stable=True).indices[:count].sort().values
