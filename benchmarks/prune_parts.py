"""The parts of `benchmarks.prune`: what each runs, and the rows that it leaves."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.fan_out import fan_out
from benchmarks.prune_curve import rows_e, run_e
from compress.pipeline.recipe import Recipe, parse_recipe

AIMS = (2.0, 3.0)
ASKED = 1.04  # times an aim: minutes later the same model is a few per cent faster or slower beside the teacher
# Every token that the training texts use and every character; the most frequent, since SST-2 alone uses 11,575 of
# 30,522; and those used, without characters that no text has.
VOCABULARIES: dict[str, dict[str, Any]] = {"fewer": {}, "frequent": {"size": 10000}, "used": {"characters": False}}
TUNE = "outputs"
BATCH, RATE = 64, 5e-5
SEED = 13  # of parts c and d, which one run decides
BASE_LENGTH = 128  # of part c
Options = argparse.Namespace
Row = dict[str, Any]
Steps = dict[str, Any]


def corpus(options: Options, rows: int | None = None) -> Steps:
    """SST-2, whole, or with fewer training rows (drawn by a fixed seed)."""
    limit = {"limit": {"train": rows}} if rows else {}
    return {
        "prepare": {"source": {"jsonl": {"path": str(options.data)}}, "task": {"classify": {}}, "seed": 13,
                    "labels": ["negative", "positive"], **limit}
    }  # fmt: skip


def target(options: Options, speedup: float) -> Steps:
    """A speed-up over the teacher at batch 1."""
    return {"speedup": speedup, "engine": "onnx", "batch": 1, "length": options.length, "threads": options.threads}


def pruned(options: Options, **more: Any) -> Steps:
    """A `prune` step on the teacher."""
    return {
        "prune": {"model": options.teacher, "corpus": "$corpus", "what": [{"heads": {}}, {"ffn": {}}],
                  "samples": options.samples, **more}
    }  # fmt: skip


def ran(name: str, seed: int, steps: Steps, options: Options) -> Path:
    """The folder of a run of these steps; finished ones are skipped."""
    from compress.pipeline.run import run

    return run(recipe(name, seed, steps), options.out / name).root


def recipe(name: str, seed: int, steps: Steps) -> Recipe:
    """The checked recipe of these steps."""
    return parse_recipe(yaml.safe_dump({"name": name, "seed": seed, "steps": steps}, sort_keys=False))


def longest(teacher: str) -> int:
    """Tokens that a student folder takes, which `bench` keeps to."""
    path = Path(teacher) / "tokenizer_config.json"
    return int(json.loads(path.read_text(encoding="utf-8"))["model_max_length"])


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished step; {} of one that is not."""
    path = folder / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def accuracy(folder: Path) -> float:
    """Dev accuracy in per cent."""
    return 100 * float(manifest(folder)["measured"]["dev"]["accuracy"])


def run_a(options: Options) -> None:
    """One prune for each seed, and a bench of its own, which the prune's choice did not see."""
    for seed in options.seeds:
        steps: Steps = {
            "corpus": corpus(options),
            "once": pruned(options, tune=TUNE, target=target(options, 1.5 * ASKED)),
        }
        steps |= {"teacher-onnx": exported(options.teacher), "once-onnx": exported("$once")}
        steps["speed"] = bench(["$teacher-onnx", "$once-onnx"], [1], options.length, options)
        ran(f"prune-a-{seed}", seed, steps, options)


def rows_a(options: Options) -> list[Row]:
    """What was lost and what the bench measured, of the seeds that have both."""
    found = []
    for seed in options.seeds:
        root = options.out / f"prune-a-{seed}"
        made = manifest(root / "once")
        if made and manifest(root / "speed"):
            speed = cell(root / "speed", "once-onnx", 1)
            told = {**how(made), **of_target(made), **lost(made)}
            found.append({"part": "a", "model": "stillroom", "seed": seed, **speed, **told})
    return found


def how(made: dict[str, Any]) -> Row:
    """What a `prune` step looked at, and how it made up for what went."""
    return {name: made.get("options", {}).get(name) for name in ("samples", "tune")}


def of_target(made: dict[str, Any]) -> Row:
    """What the step itself says of its speed-up, and what is left of every layer."""
    facts = made["about"]["pruned"]["heads+ffn"]
    aim = facts["target"]
    return {
        "predicted": aim["predicted"]["speedup"], "by_the_step": aim["measured"]["speedup"],
        "tries": len(aim["tries"]), "fit_error": aim["fit"]["largest_error"],
        "heads": facts["heads"]["after"], "neurons": facts["neurons"]["after"],
    }  # fmt: skip


def lost(made: dict[str, Any]) -> Row:
    """Dev accuracy of a `prune` step and the points below what it was made from."""
    before, after = (100 * one["dev"]["accuracy"] for one in (made["measured"]["before"], made["measured"]))
    return {"accuracy": round(after, 3), "teacher": round(before, 3), "lost": round(before - after, 3)}


def run_b(options: Options) -> None:
    """Ours, the peer at the same speed where it is installed, and one bench of both, for each seed and aim.

    What is timed runs alone; the trainings between run side by side where `--jobs` says so.
    """
    each = [(f"prune-b-{aim:g}x-{seed}", aim, seed) for seed in options.seeds for aim in AIMS]
    smalls = {name: ran(name, seed, small_b(options, aim), options) / "small" for name, aim, seed in each}
    cuts = peers(options, smalls) if options.torch_pruning else {}
    whole = {name: steps_b(options, aim, cuts.get(name)) for name, aim, _ in each}
    fan_out([recipe(name, seed, whole[name]) for name, _, seed in each], options.out, options.jobs)
    for name, _, seed in each:
        ran(name, seed, whole[name], options)


def peers(options: Options, smalls: dict[str, Path]) -> dict[str, Path]:
    """torch-pruning's models, of the shapes that one bench of all found nearest in speed to ours.

    smalls: our cuts by name. The latency table that ours were chosen by predicts a single shape less exactly.
    """
    from benchmarks.prune_peer import nearest, peer, shapes_near

    shapes = sorted({shape for small in smalls.values() for shape in shapes_near(manifest(small))})
    steps: Steps = {"corpus": corpus(options, options.recover_rows), "teacher-onnx": exported(options.teacher)}
    whole = manifest(next(iter(smalls.values())))["about"]["pruned"]["heads+ffn"]
    for heads, neurons in shapes:
        shares = (1 - heads / max(whole["heads"]["before"]), 1 - neurons / max(whole["neurons"]["before"]))
        what = [{name: {"ratio": share}} for name, share in zip(("heads", "ffn"), shares, strict=True) if share]
        steps[f"shape-{heads}-{neurons}"] = pruned(options, what=what, by="magnitude", spread="uniform")
        steps[f"shape-{heads}-{neurons}"]["prune"].pop("samples")  # magnitude reads no text
        steps[f"onnx-{heads}-{neurons}"] = exported(f"$shape-{heads}-{neurons}")
    steps |= {f"onnx-{name}": exported(str(small)) for name, small in smalls.items()}
    forms = [f"${name}" for name in steps if name.startswith("onnx-")]
    fan_out([recipe("prune-b-match", SEED, steps)], options.out, options.jobs)
    steps["speed"] = bench(["$teacher-onnx", *forms], [1], options.length, options)
    speed = ran("prune-b-match", SEED, steps, options) / "speed"
    speeds = {shape: cell(speed, f"onnx-{shape[0]}-{shape[1]}", 1)["faster"] for shape in shapes}
    chosen = {name: nearest(speeds, cell(speed, f"onnx-{name}", 1)["faster"]) for name in smalls}
    return {name: peer(options, shape, options.out / f"{name}-cut") for name, shape in chosen.items()}


def small_b(options: Options, aim: float) -> Steps:
    """The cut alone, which times models."""
    small = pruned(options, tune=TUNE, target=target(options, aim * ASKED))
    return {"corpus": corpus(options, options.recover_rows), "small": small}


def steps_b(options: Options, aim: float, cut: Path | None) -> Steps:
    """The cut, both trainings and the bench. cut: the peer's folder, where there is one."""
    steps = {**small_b(options, aim), "well": recovery("$small", options, towards=True)}
    steps |= {"teacher-onnx": exported(options.teacher), "well-onnx": exported("$well")}
    forms = ["$teacher-onnx", "$well-onnx"]
    if cut is not None:
        steps |= {"peer": recovery(str(cut), options, towards=False), "peer-onnx": exported("$peer")}
        forms.append("$peer-onnx")
    return {**steps, "speed": bench(forms, [1], options.length, options)}


def recovery(start: str, options: Options, *, towards: bool) -> Steps:
    """One epoch: towards the teacher's logits and states, or on the labels alone."""
    soft: list[Any] = [{"logits_kl": {"temperature": 2}}, {"hidden_mse": {"map": "uniform"}}]
    return {
        "distill": {"corpus": "$corpus", "teacher": options.teacher, "student": {"checkpoint": {"name": start}},
                    "losses": soft if towards else ["hard_ce"], "epochs": 1, "batch_size": BATCH,
                    "learning_rate": RATE, "evaluate_per_epoch": 2}
    }  # fmt: skip


def exported(model: str) -> Steps:
    """The float model for ONNX Runtime."""
    return {"export": {"model": model, "corpus": "$corpus", "format": {"onnx": {}}}}


def bench(models: list[str], batches: list[int], length: int, options: Options) -> Steps:
    """Times at this many tokens, the first model as reference."""
    return {
        "bench": {"models": models, "corpus": "$corpus", "split": "dev", "batch_sizes": batches, "lengths": [length],
                  "engine": "onnx", "threads": options.threads, "seconds": 2.0, "probes": ["latency"]}
    }  # fmt: skip


def rows_b(options: Options) -> list[Row]:
    """Both after their epoch, with the speed that one bench measured of them."""
    found = []
    for seed in options.seeds:
        for aim in AIMS:
            root = options.out / f"prune-b-{aim:g}x-{seed}"
            made, known = manifest(root / "small"), timed(root / "speed")
            for name, step in (("stillroom", "well"), ("torch-pruning", "peer")):
                if not made or f"{step}-onnx" not in known or not manifest(root / step):
                    continue
                before = 100 * made["measured"]["before"]["dev"]["accuracy"]
                cut = {**how(made), "untrained": round(accuracy(root / "small"), 3)} if step == "well" else {}
                found.append(
                    {"part": "b", "model": name, "aim": aim, "seed": seed,
                     "trained_rows": manifest(root / step)["about"].get("trained_rows"),
                     "accuracy": round(accuracy(root / step), 3), "teacher": round(before, 3),
                     "lost": round(before - accuracy(root / step), 3), **cell(root / "speed", f"{step}-onnx", 1), **cut}
                )  # fmt: skip
    return found


def timed(measures: Path) -> set[str]:
    """What a bench measured; nothing, of one that is not finished."""
    if not manifest(measures):
        return set()
    return {one["name"] for one in json.loads((measures / "measures.json").read_text(encoding="utf-8"))["subjects"]}


def cell(measures: Path, name: str, batch: int) -> Row:
    """Speed over the reference at this batch, and the length at which it was timed."""
    document = json.loads((measures / "measures.json").read_text(encoding="utf-8"))
    subject = next(one for one in document["subjects"] if one["name"] == name)
    line = next(one for one in subject["latency"] if one["mix"] == "grid" and one["batch"] == batch)
    return {"faster": line["ratio"]["value"], "interval": line["ratio"]["interval"], "p50_ms": line["p50"]["value"],
            "length": line["length"]}  # fmt: skip


def run_c(options: Options) -> None:
    """BERT-base's shape with random weights: what stays does not matter to its speed."""
    from benchmarks.shapes import CORPUS, Shape, make_corpus, make_model

    out = options.out / "prune-c"
    base = make_model(Shape("bert-base", "bert", options.layers, 768, 12, 3072), out / "bert-base", make_corpus(out))
    steps: Steps = yaml.safe_load(CORPUS)
    steps["half"] = {
        "prune": {"model": str(base), "corpus": "$corpus", "by": "magnitude", "spread": "uniform",
                  "what": [{"heads": {"ratio": 0.5}}, {"ffn": {"ratio": 0.5}}]}
    }  # fmt: skip
    steps |= {"whole-onnx": exported(str(base)), "half-onnx": exported("$half")}
    steps["speed"] = bench(["$whole-onnx", "$half-onnx"], [1, 8], BASE_LENGTH, options)
    ran("prune-c", SEED, steps, options)


def rows_c(options: Options) -> list[Row]:
    """Speed at both batch sizes."""
    root = options.out / "prune-c"
    if not manifest(root / "speed"):
        return []
    counts = manifest(root / "half")["measured"]["parameters"]
    sizes = {"parameters": counts["after"]["total"], "whole": counts["before"]["total"]}
    return [{"part": "c", "batch": batch, **sizes, **cell(root / "speed", "half-onnx", batch)} for batch in (1, 8)]


def run_d(options: Options) -> None:
    """Each cut of the vocabulary, and every text that it covers under both models."""
    from benchmarks.prune_tokens import compare

    steps: Steps = {"corpus": corpus(options)}
    for name, cut in VOCABULARIES.items():
        steps[name] = {"prune": {"model": options.teacher, "corpus": "$corpus", "what": [{"vocab": cut}]}}
    root = ran("prune-d", SEED, steps, options)
    for name in VOCABULARIES:
        compare(options.teacher, root / name, root / "corpus", root / f"compared-{name}.json")


def rows_d(options: Options) -> list[Row]:
    """Rows of the embedding, covered texts in per cent, changed predictions."""
    root, found = options.out / "prune-d", []
    for name, cut in VOCABULARIES.items():
        made, path = manifest(root / name), root / f"compared-{name}.json"
        if made and path.is_file():
            rows = made["about"]["pruned"]["vocab"]["rows"]
            told = json.loads(path.read_text(encoding="utf-8"))
            shares = {
                f"covered_{split}": round(100 * told[split]["covered"] / told[split]["texts"], 2)
                for split in ("train", "dev")
            }
            found.append(
                {"part": "d", "cut": name, "vocab": cut, "rows": rows, "smaller": rows[0] / rows[1], **shares, **told}
            )
    return found


def machine(options: Options) -> dict[str, Any] | None:
    """The environment of the first finished step."""
    for path in sorted(options.out.glob("prune-[abcde]*/*/manifest.json")):
        found = json.loads(path.read_text(encoding="utf-8")).get("environment")
        if found:
            return dict(found)
    return None


RUN: dict[str, Callable[[Options], None]] = {"a": run_a, "b": run_b, "c": run_c, "d": run_d, "e": run_e}
ROWS: dict[str, Callable[[Options], list[Row]]] = {"a": rows_a, "b": rows_b, "c": rows_c, "d": rows_d, "e": rows_e}
