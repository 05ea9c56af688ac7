"""What the losses on outputs share: the logits and labels of the positions that count."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from compress.core.errors import InputError
from compress.core.trace import Trace

UNLABELLED = -100
IMPOSSIBLE = -9e3  # tasks fill positions that cannot be the answer with -1e4 (9984 in bf16) or less; no head says that


def flat_logits(trace: Trace) -> Tensor:
    """Logits `[n, c]` of the outputs that count, in float32. Raises InputError when there is none."""
    if trace.logits is None:
        raise InputError("the trace has no logits; this loss compares outputs")
    logits = trace.logits if trace.outputs is None else trace.logits[trace.outputs]
    if logits.numel() == 0:
        raise InputError("every output is masked; a loss over nothing is not defined")
    return logits.reshape(-1, logits.shape[-1]).float()


def flat_labels(trace: Trace) -> Tensor:
    """Labels `[n]` of the outputs that count. Raises InputError for a batch without labels."""
    return _labels(trace).reshape(-1)


def label_rows(trace: Trace, logits: Tensor, name: str) -> Tensor:
    """Labels `[n, c]` float32 beside logits `[n, c]`. Raises InputError for one label a text."""
    labels = _labels(trace).float()
    if labels.shape != logits.shape:
        raise InputError(
            f"{name} wants a yes or no for each of the {logits.shape[-1]} labels, and the labels have the shape "
            f"{list(labels.shape)}; use hard_ce for one label a text, hard_mse for a value"
        )
    return labels


def class_logits(trace: Trace, name: str, instead: str) -> Tensor:
    """Logits `[n, c]` with c > 1. Raises InputError for one output, whose softmax is always 1."""
    logits = flat_logits(trace)
    if logits.shape[-1] < 2:
        raise InputError(f"{name} takes a softmax over classes, and this head has one output; {instead}")
    return logits


def class_labels(trace: Trace) -> Tensor:
    """Labels `[n]` as class numbers, -100 where there is none (tasks may write any negative number)."""
    labels = flat_labels(trace)
    if labels.is_floating_point():
        raise InputError(
            "the labels are real numbers, not classes; use hard_mse for a regression task, hard_bce for several labels"
        )
    return labels.where(labels >= 0, UNLABELLED)


def log_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(logits / T) over the last dimension, finite where a task filled in float32's lowest number."""
    scaled = logits / temperature
    return functional.log_softmax(scaled if temperature >= 1 else scaled.clamp(min=-1e30), -1)


def label_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """-log p against smoothed labels, `[n]`, 0 for unlabelled rows. Logits `[n, c]`, labels `[n]`.

    What smoothing takes from the label is shared by the classes that are possible: those not filled by the task.
    """
    picked = functional.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="none")
    if not smoothing:
        return picked
    impossible = logits < IMPOSSIBLE
    spread = -log_probabilities(logits).masked_fill(impossible, 0.0).sum(-1) / (~impossible).sum(-1)
    return (1 - smoothing) * picked + smoothing * spread.where(labels != UNLABELLED, 0.0)


def mean_of_known(terms: Tensor, known: Tensor) -> Tensor:
    """Mean of `terms` where `known`; 0, with a gradient path, where nothing is (a batch of unlabelled rows, say)."""
    return terms.where(known, 0.0).sum() / known.sum().clamp(min=1)


def same_outputs(student: Tensor, teacher: Tensor) -> None:
    """Raises InputError when two `[n, c]` heads differ in their number of classes."""
    if student.shape != teacher.shape:
        raise InputError(
            f"the student has {student.shape[-1]} outputs and the teacher {teacher.shape[-1]}; "
            f"both need the same labels (or vocabulary) in the same order; embeddings of two widths: embedding_mse"
        )


def _labels(trace: Trace) -> Tensor:
    if trace.labels is None:
        raise InputError("this loss needs labels, and these rows have none; use a loss on the teacher's outputs")
    return trace.labels if trace.outputs is None else trace.labels[trace.outputs]
