"""How good the outputs are: the task's metrics on the split, from the runtime that is measured."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from compress.bench.measures import absent, measure
from compress.bench.probes.base import PROBES, Probe
from compress.bench.statistics import bootstrap, interval_of
from compress.tasks.base import Task

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running

# scikit-learn takes about 10 ms to score anything at all; a share of hits needs no scorer.
DRAWS, HIT_DRAWS = 100, 2000
UNIT = "score"
NOT_NAMED = "LABEL_"


@PROBES.register("quality")
class Quality(Probe):
    """Every metric of the task with a bootstrap interval over rows.

    `retained` is the main metric as a share of the reference's, with a bootstrap over the same rows of both, so that
    rows that are hard for everyone cancel.
    """

    order: ClassVar[int] = 45

    def measure(self, desk: Desk) -> None:
        """Ask every living subject for its outputs and score them here."""
        label = f"quality on {len(desk.rows)} rows"
        with desk.reporter.progress(label, len(desk.alive())) as bar:
            for running in desk.alive():
                with desk.watch(running):
                    self._score(desk, running)
                bar.advance(1, running.name)
        for running in desk.alive():
            if "draws" in running.private:
                running.report["quality"]["retained"] = retained(running, desk.reference)

    def missing(self, running: Running) -> None:
        """No quality for a subject that failed."""
        why = f"the subject {running.report['status']}"
        running.report["quality"] = {"values": {}, "retained": absent("ratio", why)}

    def _score(self, desk: Desk, running: Running) -> None:
        task = desk.task
        quality: dict[str, Any] = {"metric": task.metric, "split": desk.split, "rows": len(desk.rows), "values": {}}
        running.report["quality"] = quality
        columns, why = columns_of(running.opened["labels"], desk.labels)
        if why or not _gold(desk.rows[0]):
            quality["retained"] = absent("ratio", why or f"the task {task.registered_name} is not scored by bench")
            quality["values"] = {task.metric: absent(UNIT, why or quality["retained"]["why"])}
            return
        out = desk.work / f"{running.name}.npz"
        running.call("working:logits", allow=desk.options.timeout, out=str(out))
        outputs, words = per_row(out, columns)
        truth = [gold_of(row, seen) for row, seen in zip(desk.rows, words, strict=True)]
        draws = _draws(task, outputs, truth, desk.labels)
        scores = task.score(np.concatenate(outputs), np.concatenate(truth), desk.labels)
        quality["values"] = {
            name: measure(value, UNIT, interval_of(draws[name]), len(desk.rows)) for name, value in scores.items()
        }
        running.private.update(draws=draws[task.metric], score=scores[task.metric])


def retained(running: Running, reference: Running) -> dict[str, Any]:
    """The subject's main metric over the reference's, as a measure."""
    if "draws" not in reference.private:
        return absent("ratio", "the reference has no score")
    above, below = running.private, reference.private
    if not below["score"] > 0:
        return absent("ratio", "the reference's score is not above zero")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = above["draws"] / below["draws"]
    return measure(above["score"] / below["score"], "ratio", interval_of(ratios), running.report["quality"]["rows"])


def columns_of(model: Sequence[str], corpus: Sequence[str]) -> tuple[list[int] | None, str]:
    """The model's output column of each corpus label (None: as they are), or why they cannot be matched."""
    if not corpus or list(model) == list(corpus):
        return None, ""
    if sorted(model) == sorted(corpus):
        return [list(model).index(name) for name in corpus], ""
    if len(model) == len(corpus) and all(name.startswith(NOT_NAMED) for name in model):
        return None, ""
    return None, f"its labels ({', '.join(model)}) are not the corpus's ({', '.join(corpus)})"


def per_row(path: Path, columns: list[int] | None) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int64]]]:
    """The outputs `[n, c]` of each row, columns in the corpus's label order, and the number of each output's word."""
    with np.load(path, allow_pickle=False) as stored:
        values, words, edges = stored["values"], stored["words"], np.cumsum(stored["counts"])[:-1]
    if columns is not None:
        values = values[:, columns]
    return np.split(values, edges), np.split(words, edges)


def gold_of(row: dict[str, Any], words: NDArray[np.int64]) -> NDArray[Any]:
    """What `Task.score` wants beside the outputs of one row.

    For words: `[n, 2]`, the tag, and at the first word 1 + the words that the model did not see.
    """
    if "tags" in row:
        tags = np.asarray(row["tags"], dtype=np.int64)[words]
        starts = np.zeros(len(tags), dtype=np.int64)
        starts[:1] = 1 + len(row["tags"]) - len(tags)
        return np.stack([tags, starts], axis=-1)
    if "score" in row:
        return np.asarray([row["score"]], dtype=np.float64)
    return np.asarray([row["label"]], dtype=np.int64)


def _gold(row: dict[str, Any]) -> bool:
    return any(name in row for name in ("label", "score", "tags"))


def _draws(
    task: Task, outputs: list[NDArray[np.float32]], truth: list[NDArray[Any]], labels: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Bootstrap draws over rows of every metric, the same rows for every subject."""
    found: dict[str, list[float]] = {}

    def score(rows: NDArray[np.int64]) -> float:
        values = task.score(
            np.concatenate([outputs[r] for r in rows]), np.concatenate([truth[r] for r in rows]), labels
        )
        for name, value in values.items():
            found.setdefault(name, []).append(value)
        return values[task.metric]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scikit-learn remarks on every draw that lacks a class
        bootstrap(score, len(outputs), DRAWS)
    draws = {name: np.asarray(values) for name, values in found.items()}
    if "accuracy" in draws and not type(task).token_level:
        hits = np.concatenate(outputs).argmax(-1) == np.concatenate(truth)
        draws["accuracy"] = bootstrap(lambda rows: float(hits[rows].mean()), len(outputs), HIT_DRAWS)
    return draws
