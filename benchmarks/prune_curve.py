"""Part e of `benchmarks.prune`: accuracy against measured speed-up, of every criterion, without any training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CRITERIA = ("random", "magnitude", "activation", "taylor", "hessian", "fisher")
TUNED = ("random", "fisher")  # drawn once more with their masks tuned
POINTS = (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85)
LINES = (*CRITERIA, *(f"{by}, tuned" for by in TUNED))
Options = argparse.Namespace
Row = dict[str, Any]


def run_e(options: Options) -> None:
    """The speed of every shape, once, then the accuracy of every criterion at it, seed by seed."""
    from benchmarks.prune_parts import bench, corpus, exported, pruned, ran

    points = POINTS[: options.points]
    steps: dict[str, Any] = {"corpus": corpus(options), "teacher-onnx": exported(options.teacher)}
    for share in points:
        what = [{"heads": {"ratio": share}}, {"ffn": {"ratio": share}}]
        steps[f"shape-{100 * share:.0f}"] = pruned(options, what=what, by="magnitude", spread="uniform")
        steps[f"shape-{100 * share:.0f}"]["prune"].pop("samples")  # magnitude reads no text
        steps[f"onnx-{100 * share:.0f}"] = exported(f"$shape-{100 * share:.0f}")
    forms = [f"$onnx-{100 * share:.0f}" for share in points]
    steps["speed"] = bench(["$teacher-onnx", *forms], [1], options.length, options)
    root = ran("prune-e", 13, steps, options)
    for seed in options.seeds:
        rows = scores(options, seed)
        done = {(row["by"], row["point"]) for row in rows}
        for row in _scores(options, root / "corpus", seed, done):
            rows.append(row)
            scores_path(options, seed).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def scores_path(options: Options, seed: int) -> Path:
    """Where the accuracies of a seed are kept."""
    out: Path = options.out
    return out / f"prune-e-{seed}.json"


def scores(options: Options, seed: int) -> list[Row]:
    """What is known of a seed."""
    path = scores_path(options, seed)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def rows_e(options: Options) -> list[Row]:
    """Accuracy of each line, by point, with the point's speed; the measured points of the measured seeds."""
    from benchmarks.prune_parts import cell, timed

    speeds = options.out / "prune-e" / "speed"
    known = timed(speeds)
    found = []
    for seed in options.seeds:
        for row in scores(options, seed):
            if (name := f"onnx-{row['point']}") in known:
                found.append({"part": "e", "seed": seed, **row, **cell(speeds, name, 1)})
    return found


def _scores(options: Options, folder: Path, seed: int, done: set[tuple[str, str]]) -> Iterator[Row]:
    """Every line at every point that is not done.

    A criterion scores once; what stays at a point is chosen from those scores.
    """
    from compress.core.options import Choice
    from compress.core.reporter import Reporter
    from compress.corpora.corpus import Corpus
    from compress.distill.distillation import Distillation
    from compress.importance.base import IMPORTANCES, Evidence
    from compress.prune.base import Job
    from compress.prune.ffn import Ffn
    from compress.prune.heads import Heads
    from compress.prune.masking import scored_units
    from compress.tasks.base import TASKS
    from compress.train.folder import load_model
    from compress.train.options import TrainOptions

    corpus = Corpus.open(folder)
    task = Choice(TASKS).parse(corpus.task)
    loaded = load_model(options.teacher, task.auto_class)
    work = Distillation(task, corpus, loaded.tokenizer, loaded.max_length, TrainOptions(), Reporter())
    evidence = Evidence(work.sample(options.samples, seed), work.supervised, seed)
    model, shares = loaded.model.eval(), POINTS[: options.points]
    teacher = 100 * work.score(model, "dev")[0]["accuracy"]
    for by in CRITERIA:
        lines = [by, *([f"{by}, tuned"] if by in TUNED else [])]
        open_ones = {line: [share for share in shares if (line, _point(share)) not in done] for line in lines}
        if not any(open_ones.values()):
            continue
        job = Job(model, loaded.tokenizer, IMPORTANCES.get(by)(), evidence, tuple, 8, "uniform", False)
        units = scored_units(job, ("heads", "neurons"))
        for share in shares:
            wanted = [line for line in lines if share in open_ones[line]]
            for line, smaller in _smaller(job, units, [Heads(ratio=share), Ffn(ratio=share)], wanted):
                accuracy = 100 * work.score(smaller, "dev")[0]["accuracy"]
                row = {
                    "point": _point(share),
                    "by": line,
                    "samples": options.samples,
                    "accuracy": round(accuracy, 3),
                    "teacher": round(teacher, 3),
                    "lost": round(teacher - accuracy, 3),
                }
                print(seed, row, flush=True)
                yield row


def _point(share: float) -> str:
    return f"{100 * share:.0f}"


def _smaller(job: Any, units: Any, pruners: Any, lines: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """For each line the model without what the criterion likes least, with tuned masks where it says so."""
    from compress.importance.tune import tune
    from compress.prune.masked_cut import cut_masked
    from compress.prune.masking import amounts, masks_of

    if not lines:
        return
    chosen = [pair for pruner in pruners for pair in amounts(job, units, pruner)]
    masks = masks_of([unit for unit, _ in chosen], [count for _, count in chosen])
    masks = job.importance.refine(job.model, masks, job.evidence)
    for line in lines:
        tuned = tune(job.model, masks, job.evidence)[0] if line.endswith("tuned") else masks
        yield line, cut_masked(job.model, tuned)
