"""What each part of a two-stage distillation is worth (the ablation of TinyBERT, at this scale).

    python -m benchmarks.ablation --data DATA/sst2 --books DATA/novels --body MODEL [--seeds 1 2 3] [--rows 20000]

Purpose: the README's "which loss when". A 4 x 312 student of a fine-tuned 6 x 384 BERT on SST-2, all parts there, and
then one part less or other: without the general stage, the task stage, augmentation, attention, hidden states, all of
the Transformer's terms, or logits; with other layer maps. `--rows` training rows and `--books-rows` pieces of book, so
that the whole fits a CPU; what is cut is cut for all. Scores are dev accuracy. Finished steps are skipped, `--collect`
only reads. Writes results/ablation.json. Its claims ask of every part whether the whole was above the variant without
it; one that falls short is a part whose worth was not shown here.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import yaml

from benchmarks.claims import claim
from benchmarks.fan_out import add_jobs, fan_out
from benchmarks.record import record
from benchmarks.seeds import over, over_seeds
from compress.pipeline.recipe import Recipe, parse_recipe
from compress.pipeline.run import run

ROOT = Path(__file__).resolve().parents[1]
SHAPE = {"layers": 4, "width": 312, "heads": 12, "ffn": 1200, "init": "truncated", "dropout": 0}
WHOLE = "everything"
LOGITS: dict[str, Any] = {"logits_kl": {"temperature": 2}}


def hidden(layer_map: str = "uniform") -> dict[str, Any]:
    """Hidden states and embeddings."""
    return {"hidden_mse": {"map": layer_map}}


def attention(layer_map: str = "uniform") -> dict[str, Any]:
    """Attention scores."""
    return {"attention_mse": {"map": layer_map}}


# What differs from everything: the losses of both stages' states, and which parts are there.
VARIANTS: dict[str, dict[str, Any]] = {
    WHOLE: {},
    "no general stage": {"general": False},
    "no task-stage states": {"task_states": False},
    "no logits": {"logits": False},
    "no augmentation": {"augment": False},
    "no attention": {"states": [hidden()]},
    "no hidden states": {"states": [attention()]},
    "no states at all": {"states": [], "general": False},
    "map first": {"states": [hidden("first"), attention("first")]},
    "map last": {"states": [hidden("last"), attention("last")]},
}


def main() -> None:
    """Run what is not finished, then collect."""
    options = arguments()
    if not options.collect:
        fan_out([recipe(seed, options) for seed in options.seeds], options.out, options.jobs)
        for seed in options.seeds:
            run_recipe(seed, options)
    rows = table(options)
    for row in rows:
        print(row)
    print(record("ablation", finished(options), rows, claims(rows), machine(options)).relative_to(ROOT))


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with train.jsonl and dev.jsonl")
    parser.add_argument("--books", required=True, help="folder of plain text for the general stage")
    parser.add_argument("--body", required=True, help="folder of the pretrained body")
    parser.add_argument("--teacher", help="a model fine-tuned on the data; default one is trained on the rows")
    parser.add_argument("--rows", type=int, default=20000, help="training rows of the task")
    parser.add_argument("--books-rows", type=int, default=20000, help="pieces of book of the general stage")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=ROOT / "runs")
    add_jobs(parser)
    parser.add_argument("--collect", action="store_true", help="run nothing, read finished runs")
    return parser.parse_args(given)


def recipe_of(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """All variants in one recipe; parts that variants share are made once."""
    task = {"classify": {"text": "text", "label": "label"}}
    prepare = {"source": {"jsonl": {"path": options.data}}, "task": task, "labels": ["negative", "positive"],
               "limit": {"train": options.rows}, "seed": 13}  # fmt: skip
    plain = {"source": {"text": {"path": options.books, "words": 24}}, "task": {"mask": {"text": "text"}},
             "limit": {"train": options.books_rows}, "seed": 13}  # fmt: skip
    steps: dict[str, Any] = {
        "corpus": {"prepare": prepare},
        "augmented": {"augment": {"corpus": "$corpus", "methods": ["ngrams", "joined"], "copies": 1, "seed": 13}},
        "plain": {"prepare": plain},
    }
    if options.teacher is None:
        steps["teacher"] = {"teach": {"corpus": "$corpus", "model": {"pretrained": {"name": options.body}}, "seed": 13,
                                      "mode": "full", "epochs": 2, "batch_size": 64, "learning_rate": 7e-5,
                                      "max_length": 64}}  # fmt: skip
    for name, parts in VARIANTS.items():
        steps |= variant(step_name(name), parts, options.teacher or "$teacher", options.body)
    return {"seed": seed, "steps": steps}


def variant(name: str, parts: dict[str, Any], teacher: str, body: str) -> dict[str, Any]:
    """The general stage (of its own where its losses differ) and the task stage of one variant."""
    states = parts.get("states", [hidden(), attention()])
    student = {"tinybert": SHAPE}
    common = {"student": student, "batch_size": 64, "max_length": 64}
    steps: dict[str, Any] = {}
    start: dict[str, Any] = {}
    if parts.get("general", True):
        # The same losses give the same key, so that the store makes each general stage once for all variants.
        steps[f"{name}-general"] = {"distill": {**common, "corpus": "$plain", "teacher": body, "losses": states,
                                                "epochs": 2, "learning_rate": 6e-4, "seed": 13}}  # fmt: skip
        start = {"start": f"${name}-general"}
    losses = [*(states if parts.get("task_states", True) else []), *([LOGITS] if parts.get("logits", True) else [])]
    corpus = "$augmented" if parts.get("augment", True) else "$corpus"
    if parts.get("logits", True):
        steps[name] = {"distill": {**common, **start, "corpus": corpus, "teacher": teacher, "losses": losses,
                                   "epochs": 2, "learning_rate": 3e-4, "evaluate_per_epoch": 2}}  # fmt: skip
        return steps
    # Without the teacher's outputs the states are distilled first and the labels train the head, as the paper does.
    steps[f"{name}-states"] = {"distill": {**common, **start, "corpus": corpus, "teacher": teacher, "losses": states,
                                           "epochs": 2, "learning_rate": 3e-4}}  # fmt: skip
    steps[name] = {"distill": {**common, "start": f"${name}-states", "corpus": "$corpus", "teacher": teacher,
                               "losses": ["hard_ce"], "epochs": 2, "learning_rate": 1e-4,
                               "evaluate_per_epoch": 2}}  # fmt: skip
    return steps


def step_name(name: str) -> str:
    """A variant's name as that of a step."""
    return name.replace(" ", "-")


def folder(seed: int, options: argparse.Namespace) -> Path:
    """The run folder of a seed."""
    out: Path = options.out
    return out / f"ablation-{seed}"


def recipe(seed: int, options: argparse.Namespace) -> Recipe:
    """The checked recipe of one seed."""
    return parse_recipe(yaml.safe_dump(recipe_of(options, seed), sort_keys=False))


def run_recipe(seed: int, options: argparse.Namespace) -> None:
    """Every variant with one seed."""
    run(recipe(seed, options), folder(seed, options))


def finished(options: argparse.Namespace) -> list[int]:
    """The seeds of which every variant is there."""
    return [
        seed
        for seed in options.seeds
        if all((folder(seed, options) / step_name(name) / "manifest.json").is_file() for name in VARIANTS)
    ]


def table(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each variant: dev accuracy, and how far it is from everything together."""
    seeds = finished(options)
    found = {name: [accuracy(name, seed, options) for seed in seeds] for name in VARIANTS}
    rows = []
    for name, values in found.items() if seeds else ():
        off = [mine - whole for mine, whole in zip(values, found[WHOLE], strict=True)]
        rows.append(
            {"variant": name, "accuracy": round(statistics.mean(values), 2), "against everything": statistics.mean(off),
             "interval": None if name == WHOLE else over_seeds(off), "by_seed": values, "rows": options.rows}
        )  # fmt: skip
    return rows


def accuracy(name: str, seed: int, options: argparse.Namespace) -> float:
    """Dev accuracy in per cent."""
    text = (folder(seed, options) / step_name(name) / "manifest.json").read_text(encoding="utf-8")
    return 100 * float(json.loads(text)["measured"]["dev"]["accuracy"])


def claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Variants and seeds that were run, and of each part whether the whole was above the variant without it."""
    of = {row["variant"]: row["by_seed"] for row in rows}
    made = [
        claim("variants with three seeds", sum(len(values) >= 3 for values in of.values()), f">= {len(VARIANTS)}"),
        claim("seeds", min((len(of.get(name, [])) for name in VARIANTS), default=0), ">= 3"),
    ]
    for name in VARIANTS:
        if name != WHOLE:
            gain = [whole - less for whole, less in zip(of.get(WHOLE, []), of.get(name, []), strict=True)]
            made.append(over(f"{WHOLE} above {name}", gain, "> 0", "points"))
    return made


def machine(options: argparse.Namespace) -> dict[str, Any] | None:
    """The environment of the first finished run."""
    for seed in finished(options):
        text = (folder(seed, options) / WHOLE / "manifest.json").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)["environment"]
        return found
    return None


if __name__ == "__main__":
    main()
