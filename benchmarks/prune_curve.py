"""Part e of `benchmarks.prune`: accuracy against measured speed-up, of every criterion, without any training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
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
        kept = scores_path(options, seed)
        if not kept.is_file():
            found = list(_scores(options, root / "corpus", seed))
            kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def scores_path(options: Options, seed: int) -> Path:
    """Where the accuracies of a seed are kept."""
    out: Path = options.out
    return out / f"prune-e-{seed}.json"


def rows_e(options: Options) -> list[Row]:
    """Accuracy of each line, by point, with the point's speed; the measured points of the measured seeds."""
    from benchmarks.prune_parts import cell, timed

    speeds = options.out / "prune-e" / "speed"
    known = timed(speeds)
    found = []
    for seed in options.seeds:
        path = scores_path(options, seed)
        for row in json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []:
            if (name := f"onnx-{row['point']}") in known:
                found.append({"part": "e", "seed": seed, **row, **cell(speeds, name, 1)})
    return found


def _scores(options: Options, folder: Path, seed: int) -> Iterator[Row]:
    """Every line at every point. A criterion scores once; what stays at a point is chosen from those scores."""
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
    model = loaded.model.eval()
    teacher = 100 * work.score(model, "dev")[0]["accuracy"]
    for by in CRITERIA:
        job = Job(model, loaded.tokenizer, IMPORTANCES.get(by)(), evidence, tuple, 8, "uniform", False)
        units = scored_units(job, ("heads", "neurons"))
        for share in POINTS[: options.points]:
            for tuned, smaller in _smaller(job, units, [Heads(ratio=share), Ffn(ratio=share)], by in TUNED):
                accuracy = 100 * work.score(smaller, "dev")[0]["accuracy"]
                row = {
                    "point": f"{100 * share:.0f}",
                    "by": f"{by}, tuned" if tuned else by,
                    "samples": options.samples,
                    "accuracy": round(accuracy, 3),
                    "teacher": round(teacher, 3),
                    "lost": round(teacher - accuracy, 3),
                }
                print(seed, row, flush=True)
                yield row


def _smaller(job: Any, units: Any, pruners: Any, tuned_too: bool) -> Iterator[tuple[bool, Any]]:
    """The model without what the criterion likes least, then the same parts with their masks tuned."""
    from compress.importance.tune import tune
    from compress.prune.masked_cut import cut_masked
    from compress.prune.masking import amounts, masks_of

    chosen = [pair for pruner in pruners for pair in amounts(job, units, pruner)]
    masks = masks_of([unit for unit, _ in chosen], [count for _, count in chosen])
    masks = job.importance.refine(job.model, masks, job.evidence)
    yield False, cut_masked(job.model, masks)
    if tuned_too:
        yield True, cut_masked(job.model, tune(job.model, masks, job.evidence)[0])
