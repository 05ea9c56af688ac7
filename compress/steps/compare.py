"""How a form of a student that was made from it compares with it on the dev split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from compress.bench.statistics import bootstrap, interval_of
from compress.core.reporter import Reporter
from compress.corpora.corpus import Corpus
from compress.runtime.engines.base import Engine
from compress.runtime.engines.torch_output import one_output
from compress.steps.parity import BATCH, Parity, alone, parity
from compress.tasks.base import Task
from compress.tasks.features import encode_rows
from compress.train.batches import Batch
from compress.train.folder import Loaded

DRAWS, HIT_DRAWS = 100, 2000


@dataclass(frozen=True)
class Opened:
    """A float student, the corpus that it is compared on, and inputs of several shapes."""

    source: Path
    loaded: Loaded
    corpus: Corpus
    task: Task
    about: dict[str, Any]
    batches: list[dict[str, Tensor]]
    longest: int

    def one_output(self) -> Any:
        """The model, whose output is `logits` whatever its class gives."""
        return one_output(self.loaded.model, self.about["task"])


def compare(opened: Opened, runner: Engine, label: str, reporter: Reporter) -> tuple[dict[str, float], dict[str, Any]]:
    """The new form's scores on dev, and how they and its outputs differ from the float student's.

    Where an output depends on the rest of its batch (`Engine.mixes_rows`) each row is run alone, as `Student.predict`
    does, and `in_batches` tells what batches change.
    """
    task, names = opened.task, opened.corpus.labels
    tokenizer, model = opened.loaded.tokenizer, opened.one_output()
    features = encode_rows(task, tokenizer, opened.corpus.texts("dev"), opened.about["max_length"])

    def whole(batch: Batch) -> Tensor:
        return torch.from_numpy(runner.run({name: value.numpy() for name, value in batch.items()}))

    forms = [alone(whole), whole] if runner.mixes_rows else [whole]
    with reporter.progress(label, len(features)) as bar:
        found, *batched = parity(
            lambda batch: cast(Tensor, model(**batch).logits), forms,
            features, task, tokenizer.pad_token_id, done=bar.advance,
        )  # fmt: skip
    before = task.score(np.concatenate(found.model), np.concatenate(found.truth), names)
    after = task.score(np.concatenate(found.other), np.concatenate(found.truth), names)
    compared: dict[str, Any] = {
        "metric": task.metric,
        "rows": len(found.truth),
        "outputs": found.outputs,
        "float32": before[task.metric],
        "this": after[task.metric],
        "difference": after[task.metric] - before[task.metric],
        "interval": _interval(found, task, names),
        "largest_logit_difference": found.largest,
    }
    if task.output not in ("value", "vector"):
        compared["agreement"] = found.agreed / max(1, found.outputs)
        compared["kl"] = found.divergence / max(1, found.outputs)
    for one in batched:
        score = task.score(np.concatenate(one.other), np.concatenate(one.truth), names)[task.metric]
        compared["in_batches"] = {"batch_size": BATCH, "this": score, "difference": score - before[task.metric]}
    return after, compared


def _interval(found: Parity, task: Task, names: list[str]) -> list[float] | None:
    """The 95 % interval of the difference of the main metric: both forms scored on the same draws of rows."""
    if task.metric == "accuracy":
        return _accuracy_interval(found, task)

    def difference(drawn: np.ndarray) -> float:
        truth = np.concatenate([found.truth[row] for row in drawn])
        mine, theirs = (np.concatenate([side[row] for row in drawn]) for side in (found.model, found.other))
        return task.score(theirs, truth, names)[task.metric] - task.score(mine, truth, names)[task.metric]

    interval = interval_of(bootstrap(difference, len(found.truth), DRAWS))
    return None if interval is None else list(interval)


def _accuracy_interval(found: Parity, task: Task) -> list[float] | None:
    """The same for a share of hits, which needs no scorer and so allows many draws."""

    def hits(outputs: list[np.ndarray]) -> np.ndarray:
        rows = zip(outputs, found.truth, strict=True)
        # For a vocabulary, `flatten` gives (loss, hit) in place of logits.
        counted = [out[:, 1] if task.output == "vocabulary" else out.argmax(-1) == true for out, true in rows]
        return np.array([row.sum() for row in counted], dtype=np.float64)

    gained = hits(found.other) - hits(found.model)
    counts = np.array([len(true) for true in found.truth])
    draws = bootstrap(lambda rows: gained[rows].sum() / max(1, counts[rows].sum()), len(counts), HIT_DRAWS)
    interval = interval_of(draws)
    return None if interval is None else list(interval)
