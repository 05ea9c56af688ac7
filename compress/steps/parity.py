"""How near another form of a model comes to the model itself, over a whole split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from compress.tasks.base import Task
from compress.train.batches import Batch, Feature
from compress.train.evaluate import inputs_of, rows_of

Run = Callable[[Batch], Tensor]
BATCH = 32


@dataclass
class Parity:
    """Outputs of both forms, row by row as `Task.score` takes them, and their differences over all outputs.

    outputs: logits that count. agreed: those with the same largest class, or the same labels. largest: the
    greatest difference of a logit. divergence: the sum of KL(model || other form) in nats.
    """

    model: list[np.ndarray] = field(default_factory=list)
    other: list[np.ndarray] = field(default_factory=list)
    truth: list[np.ndarray] = field(default_factory=list)
    outputs: int = 0
    agreed: int = 0
    largest: float = 0.0
    divergence: float = 0.0


def parity(
    model: Run,
    others: Sequence[Run],
    features: Sequence[Feature],
    task: Task,
    pad_id: int,
    *,
    batch_size: int = BATCH,
    done: Callable[[int], None] = lambda rows: None,
) -> list[Parity]:
    """Run the model and other forms on the same batches of similar length; each form's comparison, row by row."""
    order = sorted(range(len(features)), key=lambda row: len(features[row]["input_ids"]), reverse=True)
    found = [Parity() for _ in others]
    parts: list[dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]] = [{} for _ in others]
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = task.collate([features[row] for row in rows], pad_id, torch.Generator().manual_seed(start))
        inputs = inputs_of(batch, torch.device("cpu"))
        with torch.inference_mode():
            mine = task.arrange(model(inputs).float(), batch)
            for other, compared, kept in zip(others, found, parts, strict=True):
                theirs = task.arrange(other(inputs).float(), batch)
                _differences(mine[batch["outputs"]], theirs[batch["outputs"]], compared, task.output)
                for at, row in enumerate(rows):
                    kept[row] = _row(mine, theirs, batch, rows_of(batch, at), task)
        done(len(rows))
    for compared, kept in zip(found, parts, strict=True):
        rowed = [kept[row] for row in range(len(features))]
        truth = [part[2] for part in rowed]
        compared.model, compared.truth = task.by_row(features, [part[0] for part in rowed], truth)
        compared.other, _ = task.by_row(features, [part[1] for part in rowed], truth)
    return found


def _row(
    mine: Tensor, theirs: Tensor, batch: Batch, one: Tensor, task: Task
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `Task.score` takes of one row: both forms' outputs, and the truth."""
    labels, counts = batch["labels"][one], batch["outputs"][one]
    first, truth = task.flatten(mine[one], labels, counts)
    return first, task.flatten(theirs[one], labels, counts)[0], truth


def alone(run: Run) -> Run:
    """`run` on each row of a batch by itself, without padding; outputs `[b, c]`, or `[b, s, c]` padded with zeros."""

    def rows(batch: Batch) -> Tensor:
        found: list[Tensor] = []
        length = batch["attention_mask"].shape[1]
        for row, real in enumerate(batch["attention_mask"].sum(1).tolist()):
            one = run({name: value[row : row + 1, :real] for name, value in batch.items()})
            found.append(torch.nn.functional.pad(one, (0, 0, 0, length - real)) if one.ndim > 2 else one)
        return torch.cat(found)

    return rows


def _differences(mine: Tensor, theirs: Tensor, found: Parity, kind: str) -> None:
    """Add the differences of logits `[n, c]` to what was found before."""
    if not len(mine):
        return
    found.outputs += len(mine)
    found.largest = max(found.largest, float((mine - theirs).abs().max()))
    if kind == "labels":
        found.agreed += int(((mine > 0) == (theirs > 0)).all(-1).sum())
        found.divergence += float(_bernoulli(mine, theirs).sum())
    elif kind not in ("value", "vector"):
        found.agreed += int((mine.argmax(-1) == theirs.argmax(-1)).sum())
        true, said = mine.log_softmax(-1), theirs.log_softmax(-1)
        found.divergence += float((true.exp() * (true - said)).sum())


def _bernoulli(mine: Tensor, theirs: Tensor) -> Tensor:
    """KL(mine || theirs) in nats of each label `[n, c]`, two distributions over yes and no."""
    yes, no = torch.nn.functional.logsigmoid(mine), torch.nn.functional.logsigmoid(-mine)
    said_yes, said_no = torch.nn.functional.logsigmoid(theirs), torch.nn.functional.logsigmoid(-theirs)
    return yes.exp() * (yes - said_yes) + no.exp() * (no - said_no)
