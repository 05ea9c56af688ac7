"""What the losses on outputs share: the logits and labels of the positions that count."""

from __future__ import annotations

from torch import Tensor

from compress.core.errors import InputError
from compress.core.trace import Trace


def flat_logits(trace: Trace) -> Tensor:
    """Logits `[n, c]` of the outputs that count, in float32. Raises InputError when there is none."""
    if trace.logits is None:
        raise InputError("the trace has no logits; this loss compares outputs")
    logits = trace.logits if trace.outputs is None else trace.logits[trace.outputs]
    if logits.numel() == 0:
        raise InputError("every output is masked; a loss over nothing is not defined")
    return logits.reshape(-1, logits.shape[-1]).float()


def flat_labels(trace: Trace) -> Tensor:
    """Labels `[n]` of the outputs that count. Raises InputError for unlabelled rows."""
    if trace.labels is None:
        raise InputError("this loss needs labels, and these rows have none; use a loss on the teacher's outputs")
    labels = trace.labels if trace.outputs is None else trace.labels[trace.outputs]
    return labels.reshape(-1)


def class_logits(trace: Trace, name: str, instead: str) -> Tensor:
    """Logits `[n, c]` with c > 1. Raises InputError for one output, whose softmax is always 1."""
    logits = flat_logits(trace)
    if logits.shape[-1] < 2:
        raise InputError(f"{name} takes a softmax over classes, and this head has one output; {instead}")
    return logits


def class_labels(trace: Trace) -> Tensor:
    """Labels `[n]` as class numbers."""
    labels = flat_labels(trace)
    if labels.is_floating_point():
        raise InputError("the labels are real numbers, not classes; use hard_mse for a regression task")
    return labels


def same_outputs(student: Tensor, teacher: Tensor) -> None:
    """Raises InputError when two `[n, c]` heads differ in their number of classes."""
    if student.shape != teacher.shape:
        raise InputError(
            f"the student has {student.shape[-1]} outputs and the teacher {teacher.shape[-1]}; "
            f"both need the same labels (or vocabulary) in the same order"
        )
