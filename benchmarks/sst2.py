"""SST-2 with a real pretrained body: half, two and one layers, a 4 x 312 student, and each without a teacher.

    python -m benchmarks.sst2 --data DATA/sst2 --books DATA/novels --body MODEL [--seeds 1 2 3] [--out runs]

Purpose: the main table of docs/results.md. Runs configs/recipes/sst2-half.yaml and sst2-tiny.yaml once per seed (the
teacher and the general stage are shared, their seed is fixed) and measures speed with the first seed. Finished steps
are skipped, so a broken run goes on. `--collect` only reads finished runs. Writes results/sst2.json. Accuracy is on
dev, which picked the best evaluation of each training and nothing else. Latency does not depend on what the weights
are, so `--speed` takes the bench of another run of the same recipes (fewer rows, `--set`, on the machine to be timed).
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims import claim
from benchmarks.fan_out import add_jobs, fan_out
from benchmarks.record import record
from benchmarks.seeds import over
from compress.pipeline.recipe import Recipe, load_recipe
from compress.pipeline.run import run

ROOT = Path(__file__).resolve().parents[1]
RECIPES = {"half": ROOT / "configs/recipes/sst2-half.yaml", "tiny": ROOT / "configs/recipes/sst2-tiny.yaml"}
STUDENTS = {"half": ("half", "half-alone", "two", "one", "int8"), "tiny": ("tiny", "tiny-alone", "int8")}
LENGTHS = {"texts of the corpus": None, "32 tokens": 32, "64 tokens": 64}
MB = 1e6
Accuracies = dict[str, list[float]]


def main() -> None:
    """Run what is not finished, then collect."""
    options = arguments()
    if not options.collect:
        chosen = [name for name in RECIPES if options.only in (None, name)]
        recipes = [recipe_of(name, seed, options) for seed in options.seeds for name in chosen]
        fan_out(recipes, options.out, options.jobs, until="int8")
        for seed in options.seeds:
            for name in chosen:
                run_recipe(name, seed, options, measured=seed == options.seeds[0] and not options.speed)
    first = {name: folder(options.out, name, options.seeds[0]) for name in RECIPES}
    seeds = {name: finished(name, options.out, options.seeds) for name in RECIPES}
    ran = [name for name in RECIPES if seeds[name]]
    found = {name: accuracies(name, options.out, seeds[name]) for name in ran}
    benched = {name: folder(options.speed or options.out, name, options.seeds[0]) / "speed" for name in ran}
    speeds = {name: bench_of(benched[name]) for name in ran}
    batched = {name: in_batches(name, options.out, seeds[name]) for name in ran}
    rows = [row for name in ran for row in table(name, found[name], batched[name], speeds[name], first[name])]
    machine = environment_of(first["half"] / "half")
    if options.speed and speeds["half"]:
        machine = {**machine, "speed": environment_of(benched["half"])}
    every = [seed for seed in options.seeds if all(seed in seeds[name] for name in ran)]
    path = record("sst2", every, rows, claims(found, speeds["half"], first["half"]), machine)
    print(path.relative_to(ROOT))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with train.jsonl and dev.jsonl")
    parser.add_argument("--books", required=True, help="folder of plain text for the general stage")
    parser.add_argument("--body", required=True, help="folder of the pretrained body")
    parser.add_argument("--out", type=Path, default=ROOT / "runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", choices=sorted(RECIPES), help="one recipe, so that two processes can share the work")
    parser.add_argument(
        "--set", action="append", default=[], help="changes of both recipes, as `compress run` has them"
    )
    add_jobs(parser)
    parser.add_argument(
        "--speed", type=Path, help="take speeds from the first seed's bench below this folder, and bench nothing"
    )
    parser.add_argument("--collect", action="store_true", help="run nothing, read finished runs")
    return parser.parse_args()


def folder(out: Path, name: str, seed: int) -> Path:
    """The run folder of a recipe and seed."""
    return out / f"sst2-{name}-{seed}"


def recipe_of(name: str, seed: int, options: argparse.Namespace) -> Recipe:
    """A recipe with its paths and seed."""
    settings = [f"settings.data={options.data}", f"settings.body={options.body}"]
    if name == "tiny":
        settings.append(f"settings.books={options.books}")
    return load_recipe(RECIPES[name], [*settings, f"seed={seed}", *options.set])


def run_recipe(name: str, seed: int, options: argparse.Namespace, *, measured: bool) -> None:
    """One recipe with one seed; `measured` also benches it."""
    run(recipe_of(name, seed, options), folder(options.out, name, seed), until=None if measured else "int8")


def environment_of(step: Path) -> dict[str, Any]:
    """The machine that a step was made on."""
    found: dict[str, Any] = json.loads((step / "manifest.json").read_text(encoding="utf-8"))["environment"]
    return found


def finished(name: str, out: Path, seeds: Sequence[int]) -> list[int]:
    """The seeds of a recipe whose every student is there; a run that was broken off counts with its next collection."""
    steps = ("teacher", *STUDENTS[name])
    return [seed for seed in seeds if all((folder(out, name, seed) / step).is_dir() for step in steps)]


def accuracies(name: str, out: Path, seeds: Sequence[int]) -> Accuracies:
    """Dev accuracy in per cent, by step, one per seed."""
    found: Accuracies = {}
    for step in ("teacher", *STUDENTS[name]):
        manifests = [json.loads((folder(out, name, seed) / step / "manifest.json").read_text()) for seed in seeds]
        found[step] = [100 * manifest["measured"]["dev"]["accuracy"] for manifest in manifests]
    return found


def bench_of(measures: Path) -> dict[str, dict[str, Any]]:
    """The subjects of a Measures artifact, by name; none when it has not been measured."""
    if not (measures / "measures.json").is_file():
        return {}
    document = json.loads((measures / "measures.json").read_text())
    return {subject["name"]: subject for subject in document["subjects"]}


def in_batches(name: str, out: Path, seeds: Sequence[int]) -> Accuracies:
    """Dev accuracy in per cent of the int8 student when its texts come in batches, one per seed."""
    manifests = [json.loads((folder(out, name, seed) / "int8" / "manifest.json").read_text()) for seed in seeds]
    found = [manifest["measured"]["parity"]["in_batches"] for manifest in manifests]
    return {"int8": [round(100 * one["this"], 4) for one in found]}


def table(
    name: str, found: Accuracies, batched: Accuracies, speeds: dict[str, Any], first: Path
) -> list[dict[str, Any]]:
    """One row per model: mean accuracy and its spread over seeds, share kept, size, speed."""
    rows = []
    teacher = statistics.mean(found["teacher"])
    for step, values in found.items():
        if name == "tiny" and step == "teacher":
            continue
        about = json.loads((first / step / "manifest.json").read_text())["about"]
        cell = cell_of(speeds[step]) if step in speeds else {}
        size = speeds.get(step, {}).get("size", {}).get("total", {}).get("value")
        rows.append(
            {
                "model": step if name == "half" or step != "int8" else "tiny-int8",
                "shape": f"{about['architecture']['layers']} x {about['architecture']['width']}",
                "runs on": " ".join([*about["engine"], *[facts["dtype"] for facts in about["engine"].values()]]),
                "accuracy": round(statistics.mean(values), 2),
                "spread": [round(min(values), 2), round(max(values), 2)],
                "kept": round(100 * statistics.mean(values) / teacher, 2),
                "seeds": len(values),
                "by_seed": [round(value, 4) for value in values],
                "in_batches_by_seed": batched.get(step),
                "size_mb": None if size is None else round(size / MB, 1),
                "smaller": speeds.get(step, {}).get("size_ratio"),
                "p50_ms": (cell.get("p50") or {}).get("value"),
                "faster": (cell.get("ratio") or {}).get("value"),
                "faster_interval": (cell.get("ratio") or {}).get("interval"),
            }
        )
    return rows


def cell_of(subject: dict[str, Any], length: int | None = None) -> dict[str, Any]:
    """Batch 1 over the corpus's own length mix (a whole `predict`), or of that many tokens (the engine alone).

    Empty when the bench has no such cell.
    """
    mix = "corpus" if length is None else "grid"
    cells: list[dict[str, Any]] = subject["latency"]
    own = (cell for cell in cells if cell["batch"] == 1 and cell["mix"] == mix and length in (None, cell["length"]))
    return next(own, {})


def claims(found: dict[str, Accuracies], speeds: dict[str, Any], first: Path) -> list[dict[str, Any]]:
    """One claim for each number that was promised."""
    half, tiny = found["half"], found.get("tiny", {})

    def kept(step: str, group: Accuracies) -> list[float]:
        teacher = group.get("teacher", [])
        return [100 * mine / theirs for mine, theirs in zip(group.get(step, []), teacher, strict=True)]

    def gap(one: str, two: str, group: Accuracies) -> list[float]:
        return [a - b for a, b in zip(group.get(one, []), group.get(two, []), strict=True)]

    parity = json.loads((first / "int8" / "manifest.json").read_text())["measured"]["size"]
    unknown = {"value": None, "interval": None}

    def ratio(step: str, length: int | None = None) -> dict[str, Any]:
        cell = cell_of(speeds[step], length) if step in speeds else {}
        own: dict[str, Any] = cell.get("ratio") or unknown
        return own

    return [
        claim("seeds", min(len(half["teacher"]), len(tiny.get("teacher", []))), ">= 3"),
        over("half depth: share of the teacher's accuracy", kept("half", half), ">= 100", "%"),
        over("half depth: above the same without a teacher", gap("half", "half-alone", half), ">= 1.5", "points"),
        over("two layers: share of the teacher's accuracy", kept("two", half), ">= 98.5", "%"),
        over("one layer: share of the teacher's accuracy", kept("one", half), ">= 96", "%"),
        *[claim(f"half depth: faster in the same engine, {what}", ratio("half", length)["value"], ">= 1.8", "times",
                ratio("half", length)["interval"]) for what, length in LENGTHS.items()],
        over("its int8: below its float", gap("half", "int8", half), "<= 0.3", "points"),
        claim("its int8: smaller than its float", parity["ratio"], ">= 3.5", "times"),
        claim("its int8: faster than the fp32 teacher in eager torch", ratio("int8")["value"], ">= 5", "times",
              ratio("int8")["interval"]),
        over("4 x 312: share of the teacher's accuracy", kept("tiny", tiny), ">= 95", "%"),
        over("4 x 312: above the same without a teacher", gap("tiny", "tiny-alone", tiny), ">= 3", "points"),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
