"""Outputs scored: every metric of the task, with its bootstrap draws."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.bench.quality.answers import Answers, Floats, Row, Units, units_of
from compress.bench.quality.draws import draw
from compress.bench.quality.forms import Form, accuracy, cut_form, label_forms, span_forms, value_forms
from compress.bench.quality.forms_more import label_set_forms, mean_forms, rank_forms
from compress.bench.statistics import bootstrap
from compress.tasks.base import Task
from compress.tasks.tag import is_bio

EQUAL = 1e-9


@dataclass(frozen=True)
class Scored:
    """One subject's scores. units: None for a task without labels. forms: the metrics that could be drawn fast.

    output: of the task. draws: of every metric, over the same draws of rows for every subject.
    """

    answers: Answers
    units: Units | None
    forms: dict[str, Form]
    scores: dict[str, float]
    draws: dict[str, Floats]
    output: str = ""


def scored(task: Task, rows: Sequence[Row], answers: Answers, labels: Sequence[str], slow_draws: int) -> Scored:
    """Score outputs on rows. slow_draws: for metrics that have no fast form. Raises JobError for NaN outputs."""
    scores = task.score(np.concatenate(answers.outputs), np.concatenate(answers.truth), labels)
    units = units_of(answers, rows) if task.output == "classes" else None
    once = np.ones((1, len(rows)))
    forms = {
        name: form
        for name, form in _forms(task, answers, units, labels).items()
        if name in scores and abs(float(form(once)[0]) - scores[name]) <= EQUAL * max(1.0, abs(scores[name]))
    }
    draws = draw(forms, len(rows))
    if set(scores) - set(forms):
        draws = {**_slowly(task, answers, labels, slow_draws), **draws}
    return Scored(answers, units, forms, scores, draws, task.output)


def _forms(task: Task, answers: Answers, units: Units | None, labels: Sequence[str]) -> dict[str, Form]:
    rows = len(answers.outputs)
    if units is not None:
        fast = {"accuracy": accuracy(units, rows), **label_forms(units, rows, answers.outputs[0].shape[-1])}
        if type(task).token_level:
            fast["cut"] = cut_form(units, rows)
            fast |= span_forms(answers, labels) if is_bio(labels) else {}
        return fast
    if task.output == "labels":
        return label_set_forms(np.concatenate(answers.outputs), np.concatenate(answers.truth))
    if task.output == "span":
        return mean_forms({"exact": 0, "f1": 1}, np.concatenate(answers.outputs))
    if task.output == "vector" and task.metric == "mrr":
        return rank_forms(np.concatenate(answers.outputs)[:, 0])
    if task.output in ("value", "vector"):
        said = np.array([outputs[0, 0] for outputs in answers.outputs], dtype=np.float64)
        return value_forms(said, np.concatenate(answers.truth).astype(np.float64))
    return {}


def _slowly(task: Task, answers: Answers, labels: Sequence[str], draws: int) -> dict[str, Floats]:
    """Draws of every metric through the task's own scorer, of whole groups where rows belong to some."""
    found: dict[str, list[float]] = {}
    together = _together(task, answers)

    def score(drawn: np.ndarray) -> float:
        rows = np.concatenate([together[place] for place in drawn])
        outputs = np.concatenate([answers.outputs[row] for row in rows])
        if task.grouped:  # a group that is drawn twice is two groups
            outputs[:, 1] = np.repeat(np.arange(len(drawn)), [len(together[place]) for place in drawn])
        values = task.score(outputs, np.concatenate([answers.truth[row] for row in rows]), labels)
        for name, value in values.items():
            found.setdefault(name, []).append(value)
        return values[task.metric]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scikit-learn remarks on every draw that lacks a class
        bootstrap(score, len(together), draws)
    return {name: np.asarray(values) for name, values in found.items()}


def _together(task: Task, answers: Answers) -> list[np.ndarray]:
    """The rows that are drawn as one: each by itself, or those of a group, whose number stands beside the output."""
    rows = np.arange(len(answers.outputs))
    if not task.grouped:
        return list(rows[:, None])
    numbers = np.array([output[0, 1] for output in answers.outputs])
    order = np.argsort(numbers, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(numbers[order])) + 1)
