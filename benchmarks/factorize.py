"""What factorized models keep, before and after repair: narrow tables, shared layers, low-rank matrices.

    python -m benchmarks.factorize --data DATA/sst2 --teacher MODEL [--seeds 1 2 3] [--rows 20000] [--only narrow ...]

Purpose: the factorizations of docs/results.md. MODEL is a classifier of SST-2 (negative, positive), a MiniLM fine-tuned
by a `teach` step; with `--body` in place of `--teacher` a pretrained body is fine-tuned first. Each kind of START is
made from it and repaired by distillation, once per seed. Accuracy is on dev, which picked the best evaluation of each
repair and nothing else. Finished steps are skipped, so a broken run goes on; `--collect` only reads. Writes
results/factorize.json; what has not been run is a claim that is not met.
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
RATIOS = (0.5, 0.25)
NORMS = ("plain", "fisher", "activation")
START: dict[str, dict[str, Any]] = {
    "narrow": {"embedding_svd": {"width": 128}},
    "shared-average": {"share_layers": {"groups": 1, "start": "average"}},
    "shared-anchor": {"share_layers": {"groups": 1, "start": "anchor"}},
    **{
        f"thin-{by}-{round(100 * ratio)}": {"low_rank": {"rank": {"ratio": ratio}, "by": by}}
        for ratio in RATIOS
        for by in NORMS
    },
}
# start, the part that is counted, how many times fewer of its parameters, share of the teacher's accuracy in per cent.
# Which start of shared layers is claimed was chosen on sentences held out of train (benchmarks/holdout.py): after 8,000
# rows one layer for all had 83.8 % there and the mean of all layers 81.1 %.
PROMISED = (("narrow", "embeddings", ">= 2.8", ">= 99"), ("shared-anchor", "encoder", ">= 4", ">= 95"))
LABELS = ["negative", "positive"]


def main() -> None:
    """Run what is not finished, then collect."""
    options = arguments()
    if not options.collect:
        fan_out([recipe(seed, options) for seed in options.seeds], options.out, options.jobs)
        for seed in options.seeds:
            run_recipe(seed, options)
    found = {name: outcomes(name, options) for name in START}
    rows = [row(name, seeds) for name, seeds in found.items() if seeds]
    for one in rows:
        print({key: value for key, value in one.items() if key != "by_seed"})
    seeds = sorted({seed for seeds in found.values() for seed in seeds})
    print(record("factorize", seeds, rows, claims(found), machine(found)).relative_to(ROOT))


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.jsonl and dev.jsonl")
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--teacher", help="folder of the fine-tuned teacher")
    model.add_argument("--body", help="folder of a pretrained body that is fine-tuned first")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--rows", nargs="+", type=limit_of, default=[],
        help="training rows, drawn with a fixed seed: a number, or NAME=NUMBER for one start; all by default",
    )  # fmt: skip
    parser.add_argument("--epochs", type=float, default=2, help="of each repair")
    parser.add_argument("--only", nargs="+", choices=list(START), default=list(START))
    parser.add_argument("--out", type=Path, default=ROOT / "runs")
    add_jobs(parser)
    parser.add_argument("--collect", action="store_true", help="run nothing, read finished runs")
    options = parser.parse_args(given)
    options.rows = dict(options.rows)
    return options


def limit_of(text: str) -> tuple[str, int]:
    """`20000` or `narrow=20000` as a start's name (empty for all) and rows."""
    name, _, rows = text.rpartition("=")
    if name and name not in START:
        raise argparse.ArgumentTypeError(f"no start is called {name}; there are {', '.join(START)}")
    return name, int(rows)


def recipe_of(options: argparse.Namespace) -> dict[str, Any]:
    """The recipe of one seed, as YAML would say it."""
    prepare: dict[str, Any] = {
        "source": {"jsonl": {"path": str(options.data)}}, "task": {"classify": {}}, "labels": LABELS, "seed": 13,
    }  # fmt: skip
    steps: dict[str, Any] = {"corpus": {"prepare": prepare}}
    common = {"batch_size": 32, "max_length": 64, "evaluate_per_epoch": 2}
    teacher = options.teacher or "$teacher"
    if options.body:
        model = {"pretrained": {"name": options.body}}
        steps["teacher"] = {
            "teach": {
                **common,
                "corpus": "$corpus",
                "model": model,
                "mode": "full",
                "seed": 13,
                "epochs": 1,
                "learning_rate": 5e-5,
            }
        }
    for name in options.only:
        steps[name] = {"factorize": {"model": teacher, "corpus": "$corpus", "method": START[name]}}
        rows = options.rows.get(name, options.rows.get(""))
        if rows is not None:
            steps[f"corpus-{rows}"] = {"prepare": {**prepare, "limit": {"train": rows}}}
        steps[f"{name}-repaired"] = {
            "distill": {
                **common,
                "corpus": "$corpus" if rows is None else f"$corpus-{rows}",
                "teacher": teacher,
                "student": {"checkpoint": {"name": f"${name}"}},
                "losses": [{"logits_kl": {"temperature": 2}}, {"hidden_mse": {"map": "uniform"}}],
                "epochs": options.epochs,
                "learning_rate": 1e-4,
            }
        }
    return {"seed": 1, "steps": steps}


def recipe(seed: int, options: argparse.Namespace) -> Recipe:
    """The checked recipe of one seed."""
    return parse_recipe(yaml.safe_dump({**recipe_of(options), "seed": seed}, sort_keys=False))


def run_recipe(seed: int, options: argparse.Namespace) -> None:
    """Every start and its repair with one seed; a teacher is taken from the shared store of runs."""
    run(recipe(seed, options), folder(seed, options))


def folder(seed: int, options: argparse.Namespace) -> Path:
    """The run folder of a seed."""
    out: Path = options.out
    return out / f"factorize-{seed}"


def outcomes(name: str, options: argparse.Namespace) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
    """Seed to the manifests of a start and of its repair, for the seeds that are finished."""
    found = {}
    for seed in options.seeds:
        paths = [folder(seed, options) / step / "manifest.json" for step in (name, f"{name}-repaired")]
        if all(path.is_file() for path in paths):
            start, repaired = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
            found[seed] = (start, repaired)
    return found


def fewer(start: dict[str, Any], part: str) -> float:
    """How many times fewer parameters a start has in a part."""
    counts = start["measured"]["parameters"]
    return float(counts["before"][part]) / float(counts["after"][part])


def kept(start: dict[str, Any], made: dict[str, Any]) -> float:
    """The accuracy of a model in per cent of its teacher's."""
    teacher = start["measured"]["before"]["dev"]["accuracy"]
    return 100 * float(made["measured"]["dev"]["accuracy"]) / float(teacher)


def row(name: str, seeds: dict[int, tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """One line of the table: what is smaller, and what is kept before and after repair."""
    starts = [start for start, _ in seeds.values()]
    after = [kept(start, repaired) for start, repaired in seeds.values()]
    ((method, options),) = START[name].items()
    return {
        "model": name, "method": method, "options": options,
        "embeddings_fewer": round(fewer(starts[0], "embeddings"), 3),
        "encoder_fewer": round(fewer(starts[0], "encoder"), 3), "all_fewer": round(fewer(starts[0], "total"), 3),
        "teacher": 100 * starts[0]["measured"]["before"]["dev"]["accuracy"],
        "kept_before_repair": round(statistics.mean(kept(start, start) for start in starts), 2),
        "kept": round(statistics.mean(after), 2), "kept_interval": over_seeds(after), "seeds": len(after),
        "by_seed": after, **{key: trained(seeds, key) for key in ("trained_rows", "epochs", "learning_rate")},
    }  # fmt: skip


def trained(seeds: dict[int, tuple[dict[str, Any], dict[str, Any]]], key: str) -> Any:
    """What the manifest of a repair says of its training; the first seed's."""
    repaired = next(iter(seeds.values()))[1]
    return {**repaired.get("options", {}), **repaired.get("about", {})}.get(key)


def claims(found: dict[str, dict[int, tuple[dict[str, Any], dict[str, Any]]]]) -> list[dict[str, Any]]:
    """What was promised: seeds, and of each start its size and, after repair, its share of the teacher."""
    made = [claim("seeds", min(len(found.get(name, {})) for name, *_ in PROMISED), ">= 3")]
    for name, part, size, share in PROMISED:
        if not found.get(name):
            made.append(claim(f"{name}: {part} parameters fewer (not run)", None, size, "times"))
            made.append(claim(f"{name}: share of the teacher after repair (not run)", None, share, "%"))
            continue
        seeds = found[name].values()
        made.append(
            claim(f"{name}: {part} parameters fewer", min(fewer(start, part) for start, _ in seeds), size, "times")
        )
        after = [kept(start, repaired) for start, repaired in seeds]
        made.append(over(f"{name}: share of the teacher after repair", after, share, "%"))
    return made


def machine(found: dict[str, dict[int, tuple[dict[str, Any], dict[str, Any]]]]) -> dict[str, Any] | None:
    """The environment that the first finished repair was made in."""
    environments = [repaired["environment"] for seeds in found.values() for _, repaired in seeds.values()]
    return environments[0] if environments else None


if __name__ == "__main__":
    main()
