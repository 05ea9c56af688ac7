"""What combining teachers is: how much each of them counts for a row, and one trace out of their outputs.

Outputs are combined before the loss sees them. With the mean of the distributions the gradient of a cross-entropy is
that of the weighted sum of the teachers' own (You et al. 2017, "Learning from Multiple Teacher Networks"; the ensemble
of Hinton et al. 2015, arXiv 1503.02531), so that a student of several teachers costs one loss; and every class that
some teacher believes in keeps its part. The mean of the logits is the geometric mean of the distributions: a teacher
that is sure that a class is wrong strikes it out for all, and one with larger logits counts for more.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from compress.core.errors import InputError
from compress.core.options import Options
from compress.core.registry import Catalogue
from compress.core.trace import Trace

DISTRIBUTIONS = ("classes", "vocabulary")  # outputs of a task (`Task.output`) over which a softmax is taken


class Combine(Options):
    """Base of every way.

    by_row: whether the shares differ from row to row, so that the teachers' outputs are always needed.
    """

    by_row: ClassVar[bool] = False
    paper: ClassVar[str] = ""

    of: Literal["auto", "probabilities", "logits"] = Field(
        "auto",
        description="what is averaged; auto: the probabilities where the outputs are one distribution over classes, "
        "else the logits (per-label logits, scores)",
    )

    @abstractmethod
    def shares(self, traces: Sequence[Trace]) -> Tensor:
        """How much each teacher counts, `[k, b]` or `[k, b, s]`, summing to 1 over the k teachers."""

    def check(self, teachers: int, output: str) -> None:
        """Raises InputError for what cannot be combined so: `output` is the task's kind of output."""
        if self.of == "probabilities" and output not in DISTRIBUTIONS:
            raise InputError(
                f"combine.{self.registered_name}.of: the outputs of this task are no distribution over classes, so "
                f"there are no probabilities to average; use `of: logits` (or auto)"
            )

    def combined(self, traces: Sequence[Trace], shares: Tensor, output: str) -> Trace:
        """One trace whose logits are the teachers' in these shares. Raises InputError for heads of unequal size."""
        logits = [trace.logits for trace in traces if trace.logits is not None]
        if len(logits) < len(traces):
            return traces[0]
        shapes = {tuple(each.shape) for each in logits}
        if len(shapes) > 1:
            sizes = ", ".join(str(each.shape[-1]) for each in logits)
            raise InputError(f"the teachers have heads of {sizes} outputs; combining them needs one set of labels")
        both = torch.stack([each.float() for each in logits])
        means = self.of == "probabilities" or (self.of == "auto" and output in DISTRIBUTIONS)
        return replace(traces[0], logits=(_mean_probabilities if means else _mean_logits)(both, shares))


COMBINERS: Catalogue[Combine] = Catalogue("combine", "combiners", ("compress.distill.combine",))


def rows(shares: Tensor, trace: Trace) -> Tensor:
    """Shares `[k, b]` of whole rows: the mean over the outputs that count, over real tokens where a row has none."""
    if shares.dim() == 2:
        return shares
    counts = trace.mask if trace.outputs is None else trace.outputs
    # Outputs need not be tokens of this mask: start and end of an answer, words of a teacher's own tokens.
    whole = trace.mask if trace.mask.shape == counts.shape else torch.ones_like(counts)
    counts = torch.where(counts.any(1, keepdim=True), counts, whole)
    return (shares * counts).sum(2) / counts.sum(1).clamp(min=1)


def _mean_logits(logits: Tensor, shares: Tensor) -> Tensor:
    return (logits * shares.unsqueeze(-1)).sum(0)


def _mean_probabilities(logits: Tensor, shares: Tensor) -> Tensor:
    """Logits whose softmax is the mean of the distributions, and whose log-sum-exp is the mean of the teachers'.

    A distribution leaves one number of its logits free; losses on logits would else be drawn to log-probabilities.
    """
    size = logits.logsumexp(-1, keepdim=True)
    weights = shares.unsqueeze(-1)
    return torch.logsumexp(logits - size + weights.log(), 0) + (weights * size).sum(0)
