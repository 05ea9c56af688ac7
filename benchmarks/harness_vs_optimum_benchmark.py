"""The same two models under this harness and under optimum-benchmark 0.6.0: how much does the reported ratio wander?

    python3 -m venv OB && OB/bin/pip install torch==2.13.0 "transformers<5" optimum-benchmark==0.6.0
    python -m benchmarks.harness_vs_optimum_benchmark --optimum-python OB/bin/python [--repeats 10] [--seconds 2]

Purpose: what `compress bench` is worth where a machine is not quiet. Two BERTs with random weights (4 and 2 layers of
width 256), batch 1, 64 tokens, float32, eager torch; each harness reports how much faster the second is than the
first, `--repeats` times, on a quiet machine and beside a process that burns one core. About 20 minutes on two cores
that nothing else uses. Repetitions are kept in the `--out` folder, and with more `--repeats` it goes on from them:
empty it after a change of either harness. Writes results/harness_vs_optimum_benchmark.json when it ran 10 times.

optimum-benchmark 0.6.0 does not import with the transformers that this project pins (`SpecialTokensMixin` is gone from
5.23), hence an environment of its own, with the same torch (its CPU build: see constraints.txt) and transformers 4.57.

What each is given: the same folders, the same torch, the same number of threads (for all pools, also by
OMP_NUM_THREADS), the same seconds of timing for each model and repetition, new processes for each repetition, random
order between the harnesses within each repetition, its own defaults otherwise: its own warm-up (10 calls there; until
stable, at most a quarter of the seconds, here), its own processes (one of each model there, three that share the
seconds here) and its own inputs of that shape (random ids there, corpus text here; dense matrices take as long for any
id). optimum-benchmark is run in both of its ways, as a process for each model, which is its default, and inline, both
models in one process; it is then judged by whichever wanders less. Of what it prints the median is taken, which wanders
less than its mean. This harness stops early when its interval is narrow, and is given nothing for it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims import claim
from benchmarks.instrument import neighbour
from benchmarks.record import record
from benchmarks.shapes import SEED, Shape, make_corpus, make_model
from compress.core.environment import cores, environment

ROOT = Path(__file__).resolve().parents[1]
DRIVER = Path(__file__).with_name("optimum_driver.py")
MODELS = {"four": Shape("four", "bert", 4, 256, 4, 1024), "two": Shape("two", "bert", 2, 256, 4, 1024)}
OURS, PROCESS, INLINE = "stillroom", "optimum-benchmark, a process each", "optimum-benchmark, inline"
LAUNCHERS = {PROCESS: "process", INLINE: "inline"}
NAMES = {False: "quiet", True: "beside a busy process"}
LENGTH = 64
KEPT = "repetitions.jsonl"
PROMISED, DRAWS = 10, 2000
Row = dict[str, Any]


def main() -> None:
    """Repeat, then record."""
    options = arguments()
    corpus = make_corpus(options.out / "corpus")
    folders = [make_model(shape, options.out / name, corpus) for name, shape in MODELS.items()]
    harnesses: dict[str, Callable[[int], Row]] = {
        OURS: lambda seed: ours(folders, corpus, options, seed),
        **{name: lambda _, way=way: theirs(folders, options, way) for name, way in LAUNCHERS.items()},  # type: ignore[misc]
    }
    chance = random.Random(SEED)
    rows = before(options.out)
    done = {(row["harness"], row["condition"], row["repeat"]) for row in rows}
    for repeat in range(options.repeats):
        for busy in (False, True):
            for name in chance.sample(list(harnesses), len(harnesses)):
                if (name, NAMES[busy], repeat) in done:
                    continue
                with neighbour(busy):
                    started = time.perf_counter()
                    found = harnesses[name](SEED + repeat)
                made = {"harness": name, "condition": NAMES[busy], "repeat": repeat, **found}
                rows.append({**made, "seconds": round(time.perf_counter() - started, 1)})
                print(json.dumps(rows[-1]), flush=True)
                with (options.out / KEPT).open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(rows[-1]) + "\n")
    summary, found_claims = summaries(rows), claims(rows)
    for line in [*summary, *found_claims]:
        print(json.dumps(line))
    if options.repeats >= PROMISED:
        machine = {**environment(), "optimum": versions(options.optimum_python), "measured_threads": options.threads}
        seeds = range(SEED, SEED + options.repeats)
        path = record("harness_vs_optimum_benchmark", seeds, [*summary, *rows], found_claims, machine)
        print(path.relative_to(ROOT))


def before(out: Path) -> list[Row]:
    """The repetitions that an earlier run left, also one that was broken off."""
    path = out / KEPT
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimum-python", type=Path, required=True, help="interpreter that has optimum-benchmark")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing for each model and repetition")
    parser.add_argument("--threads", type=int, default=cores(), help="default every core")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "harnesses", help="where the models are kept")
    options = parser.parse_args()
    options.optimum_python = options.optimum_python.absolute()  # run in another folder; a link of a venv stays one
    if not options.optimum_python.is_file():
        parser.error(f"--optimum-python {options.optimum_python}: no such interpreter; make it as --help says")
    return options


def ours(folders: Sequence[Path], corpus: Path, options: argparse.Namespace, seed: int) -> Row:
    """One benchmark by this harness: the ratio that it reports, with its interval and verdict."""
    from compress.bench.options import BenchOptions
    from compress.bench.run import bench_models

    settings = BenchOptions.model_validate(
        {"batch_sizes": [1], "lengths": [LENGTH], "seconds": options.seconds, "threads": options.threads,
         "device": "cpu", "engine": "torch", "probes": ["latency"]}
    )  # fmt: skip
    subject = bench_models([str(folder) for folder in folders], corpus, settings, seed=seed)["subjects"][1]
    cell = next(one for one in subject["latency"] if one["mix"] == "grid")
    return {"ratio": cell["ratio"]["value"], "interval": cell["ratio"]["interval"], "said": cell["ratio"]["verdict"]}


def theirs(folders: Sequence[Path], options: argparse.Namespace, launcher: str) -> Row:
    """One run of optimum-benchmark over both models: the ratio of the medians that it reports, and of its means."""
    asked = {"models": [str(folder.resolve()) for folder in folders], "launcher": launcher,
             "threads": options.threads, "length": LENGTH, "seconds": options.seconds}  # fmt: skip
    setting = {"OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | setting
    done = subprocess.run(
        [str(options.optimum_python), str(DRIVER)],
        input=json.dumps(asked) + "\n", capture_output=True, text=True, env=environ, cwd=options.out, check=False,
    )  # fmt: skip
    if done.returncode or not done.stdout.strip():
        raise SystemExit(f"optimum-benchmark failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {"ratio": found["p50"][0] / found["p50"][1], "ratio_of_means": found["mean"][0] / found["mean"][1],
            "calls": found["count"]}  # fmt: skip


def versions(python: Path) -> dict[str, str]:
    """Package versions of the other interpreter."""
    code = (
        "import importlib.metadata as m, json; "
        "print(json.dumps({n: m.version(n) for n in ('optimum-benchmark', 'torch', 'transformers', 'numpy')}))"
    )
    found: dict[str, str] = json.loads(subprocess.check_output([str(python), "-c", code], text=True))
    return found


def ratios(rows: Sequence[Row], harness: str, condition: str) -> list[float]:
    """The reported ratios in the order of the repetitions."""
    return [row["ratio"] for row in rows if (row["harness"], row["condition"]) == (harness, condition)]


def spread(values: Sequence[float]) -> float:
    """The standard deviation of the logarithms: for small spreads, that of the ratio in shares of itself."""
    return float(np.std(np.log(np.asarray(values, dtype=float)), ddof=1)) if len(values) > 1 else 0.0


def summaries(rows: Sequence[Row]) -> list[Row]:
    """A line for each harness and condition: median ratio, spread in per cent, largest over smallest."""
    made = []
    for condition in NAMES.values():
        for harness in (OURS, *LAUNCHERS):
            values = ratios(rows, harness, condition)
            made.append(
                {"harness": harness, "condition": condition, "repeats": len(values),
                 "ratio": float(np.median(values)), "spread": 100 * spread(values),
                 "max_over_min": max(values) / min(values)}
            )  # fmt: skip
    return made


def claims(rows: Sequence[Row]) -> list[Row]:
    """Our spread over theirs, in whichever of its two ways theirs is smaller; the interval is a bootstrap of both."""
    made = []
    for condition in NAMES.values():
        mine = ratios(rows, OURS, condition)
        best = min(LAUNCHERS, key=lambda way: spread(ratios(rows, way, condition)))
        other = ratios(rows, best, condition)
        name = f"spread of the ratio over that of optimum-benchmark, {condition} ({LAUNCHERS[best]})"
        made.append(claim(name, over(mine, other), "<= 0.5", "times", interval(mine, other)))
    return made


def over(mine: Sequence[float], other: Sequence[float]) -> float | None:
    """The ratio of two spreads; None when theirs is zero."""
    return spread(mine) / spread(other) if spread(other) > 0 else None


def interval(mine: Sequence[float], other: Sequence[float]) -> list[float] | None:
    """The middle 95 % of `over` when repetitions are drawn anew."""
    draw = np.random.default_rng(SEED)
    sizes = len(mine), len(other)
    draws = [over(draw.choice(mine, sizes[0]).tolist(), draw.choice(other, sizes[1]).tolist()) for _ in range(DRAWS)]
    finite = [value for value in draws if value is not None]
    return np.quantile(finite, [0.025, 0.975]).tolist() if len(finite) > DRAWS // 2 else None


if __name__ == "__main__":
    main()
