"""What the supervised losses on pairs of embeddings share: the pairs of a trace."""

from __future__ import annotations

from torch import Tensor

from compress.core.errors import InputError
from compress.core.pairs import Pairs, pairs_of
from compress.core.trace import Trace


def text_pairs(trace: Trace) -> Pairs:
    """The pairs of a trace with embeddings `[b, d]` as logits. Raises InputError without labels, and for other ones."""
    if trace.logits is None or trace.logits.dim() != 2:
        raise InputError("the trace has no embedding for each text; this loss compares the two of a pair")
    if trace.labels is None:
        raise InputError("this loss needs pairs, and these texts have none; use a loss on the teacher's embeddings")
    if trace.outputs is None:
        return pairs_of(trace.logits, trace.labels)
    if not bool(trace.outputs.any()):
        raise InputError("every output is masked; a loss over nothing is not defined")
    return pairs_of(trace.logits[trace.outputs], trace.labels[trace.outputs])


def mean_of_pairs(terms: Tensor, pairs: Pairs) -> Tensor:
    """Mean of the terms of some pairs; 0, with a gradient path, where there is none."""
    return terms.mean() if len(terms) else pairs.first.sum() * 0.0
