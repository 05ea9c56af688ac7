"""Is the harness to be trusted? Known sleeps, a known tensor, A against A, and a planted slow-down of 5 %.

    python -m benchmarks.instrument [--trials 100] [--out runs/instrument]

Purpose: what docs/ and the README say of `compress bench`. Drives the real harness (`bench_models`: fresh processes,
interleaved rounds, intervals, verdicts) with subjects whose true numbers are known (`instrument_subject.py`), once
alone and once beside a process that burns one core. About 20 minutes on two cores that nothing else uses. Every trial
is a benchmark of its own with fresh processes and its own seed; finished trials are kept in OUT/trials.jsonl, so that a
broken run goes on. Writes results/instrument.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims import claim
from benchmarks.instrument_subject import KNOWN
from benchmarks.record import record
from compress.bench.options import BenchOptions
from compress.bench.run import bench_models
from compress.bench.statistics import FASTER
from compress.bench.statistics import SLOWER as SLOWER_SAID
from compress.core.artifact import MANIFEST, ArtifactWriter
from compress.corpora.corpus import write_splits

ROOT = Path(__file__).resolve().parents[1]
COMMAND = (sys.executable, str(Path(__file__).with_name("instrument_subject.py")))
SLEEPS = (0.01, 0.03, 0.1)
TENSOR = 800_000_000
PASSES = 400
PLANTED = 1.05
REPEATS = 3
ROWS = [{"text": "a good film", "label": 1}, {"text": "a bad film", "label": 0}]
BURN = "while True: pass"
NAMES = {False: "alone", True: "beside a busy process"}
VERDICTS = (FASTER, SLOWER_SAID)
PROMISED = 100  # trials; fewer show that the script works and are not recorded
Row = dict[str, Any]


def main() -> None:
    """Run the trials that are not done, then record."""
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out / "trials.jsonl"
    done = {key(row): row for row in read(log)}
    began = time.perf_counter()
    for busy in (False, True):
        wanted = [row for row in plan(options.trials, busy) if key(row) not in done]
        with neighbour(busy and bool(wanted)):
            for row in wanted:
                made = run(row, options.out)
                done[key(row)] = made
                with log.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(made) + "\n")
                print(json.dumps(made))
    rows = [done[key(row)] for busy in (False, True) for row in plan(options.trials, busy)]
    print(f"{time.perf_counter() - began:.0f} s")
    for one in claims(rows):
        print(f"{one['name']}: {one['value']:.3g} {one['unit']} ({one['target']})")
    if options.trials >= PROMISED:
        print(record("instrument", range(1, options.trials + 1), table(rows), claims(rows)).relative_to(ROOT))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100, help="benchmarks of A, A and A + 5 %% for each condition")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "instrument", help="where finished trials are kept")
    return parser.parse_args()


def plan(trials: int, busy: bool) -> list[Row]:
    """Every trial of one condition: what is measured and with which seed."""
    repeats = range(1, min(REPEATS, trials) + 1)
    sleeps = [{"what": "sleep", "busy": busy, "seed": seed, "truth": truth} for truth in SLEEPS for seed in repeats]
    tensors = [{"what": "tensor", "busy": busy, "seed": seed, "truth": TENSOR} for seed in repeats]
    return (
        sleeps
        + tensors
        + [{"what": "verdict", "busy": busy, "seed": s, "truth": PLANTED} for s in range(1, trials + 1)]
    )


def key(row: Row) -> tuple[Any, ...]:
    """What makes a trial that trial."""
    return (row["what"], row["busy"], row["seed"], row["truth"])


def read(log: Path) -> list[Row]:
    """Finished trials; a line that was cut off is left out."""
    found = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


@contextlib.contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """A process that burns one core for as long as the block lasts."""
    process = subprocess.Popen([sys.executable, "-c", BURN]) if busy else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def run(row: Row, out: Path) -> Row:
    """One trial: the row with what was measured."""
    if row["what"] == "sleep":
        (found,) = bench(row, out, [{"sleep": row["truth"]}], ["latency"])
        return {**row, "measured": found["latency"][0]["p50"]["value"] / 1e3}
    if row["what"] == "tensor":
        (found,) = bench(row, out, [{"bytes": TENSOR}], ["memory"])
        return {**row, "measured": found["memory"]["bill"]["weights"]["value"]}
    known = [{"passes": PASSES}, {"passes": PASSES}, {"passes": round(PASSES * PLANTED)}]
    _, same, slow = bench(row, out, known, ["latency"])
    return {**row, "same": ratio_of(same), "slow": ratio_of(slow)}


def bench(row: Row, out: Path, known: Sequence[dict[str, Any]], probes: list[Any]) -> list[dict[str, Any]]:
    """The subjects of one benchmark by the real harness, reference first."""
    models = [str(subject(out, facts)) for facts in known]
    names = [f"s{index}" for index in range(len(models))]
    options = BenchOptions(
        batch_sizes=[1], lengths=[], device="cpu", threads=1, seconds=3.0, rounds=60, timeout=60.0, probes=probes
    )
    seed = 2 * int(row["seed"]) + int(row["busy"])
    subjects: list[dict[str, Any]] = bench_models(
        models, corpus(out), options, names=names, seed=seed, command=COMMAND
    )["subjects"]
    for one in subjects:
        if one["status"] != "ok":
            raise SystemExit(f"{row}: {one['name']} {one['status']}: {one['error']}")
    return subjects


def ratio_of(subject: dict[str, Any]) -> dict[str, Any]:
    """Ratio, interval and verdict against the reference, and how many rounds it took."""
    cell = subject["latency"][0]
    return {name: cell["ratio"][name] for name in ("value", "interval", "verdict")} | {"rounds": len(cell["rounds"])}


def subject(out: Path, facts: dict[str, Any]) -> Path:
    """A model's folder as far as the harness looks at it, with the facts that its process acts by."""
    folder = out / "-".join(str(part) for pair in facts.items() for part in pair)
    folder.mkdir(exist_ok=True)
    config = {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "bad", "1": "good"},
    }
    for name, content in (("config.json", config), ("tokenizer.json", {}), (KNOWN, facts)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "model.onnx").touch()
    return folder


def corpus(out: Path) -> Path:
    """A corpus of two texts, made once."""
    folder = out / "corpus"
    if not (folder / MANIFEST).is_file():
        writer = ArtifactWriter(folder)
        counts = write_splits(writer.open(), {"train": ROWS, "dev": ROWS})
        about = {"task": {"classify": {}}, "labels": ["bad", "good"], "rows": counts, "slices": False}
        writer.commit({"kind": "Corpus", "key": "instrument", "about": about})
    return folder


def table(rows: Sequence[Row]) -> list[Row]:
    """One row for each condition and truth."""
    made: list[Row] = []
    for busy in (False, True):
        for what, truths in (("sleep", SLEEPS), ("tensor", (TENSOR,))):
            for truth in truths:
                found = [
                    row["measured"]
                    for row in rows
                    if row["busy"] is busy and (row["what"], row["truth"]) == (what, truth)
                ]
                worst = max(abs(one / truth - 1) for one in found)
                made.append(
                    {"what": what, "machine": NAMES[busy], "truth": truth, "measured": found, "worst_error": worst}
                )
        verdicts = [row for row in rows if row["busy"] is busy and row["what"] == "verdict"]
        made += [_verdicts(which, [row[which] for row in verdicts], NAMES[busy]) for which in ("same", "slow")]
    return made


def _verdicts(which: str, found: Sequence[Row], machine: str) -> Row:
    """How often a subject that is the same, or slower by 5 %, was called what."""
    ratios = [one["value"] for one in found]
    counts = Counter(one["verdict"] for one in found)
    wrong_or_right = VERDICTS if which == "same" else (SLOWER_SAID,)
    return {
        "what": which, "machine": machine, "trials": len(found), "verdicts": dict(counts),
        "share": sum(counts[name] for name in wrong_or_right) / len(found),
        "median_ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios),
        "median_rounds": statistics.median(one["rounds"] for one in found),
    }  # fmt: skip


def claims(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The four promises, alone and beside a busy process. Shares are of the trials that were run, as promised."""
    made = []
    for busy in (False, True):
        found = [row for row in table(rows) if row["machine"] == NAMES[busy]]
        worst = {
            what: 100 * max(row["worst_error"] for row in found if row["what"] == what) for what in ("sleep", "tensor")
        }
        share = {what: 100 * next(row["share"] for row in found if row["what"] == what) for what in ("same", "slow")}
        made += [
            claim(f"known sleeps, largest error, {NAMES[busy]}", worst["sleep"], "<= 2", "%"),
            claim(f"a known 800 MB tensor, largest error, {NAMES[busy]}", worst["tensor"], "<= 3", "%"),
            claim(f"A against A called faster or slower, {NAMES[busy]}", share["same"], "<= 5", "% of trials"),
            claim(f"5 % slower found, {NAMES[busy]}", share["slow"], ">= 90", "% of trials"),
        ]
    return made


if __name__ == "__main__":
    main()
