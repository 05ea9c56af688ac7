"""How fast a student is distilled, beside TextBrewer 0.2.1 and beside a Trainer with a teacher in its loss.

    pip install --no-deps --target TB textbrewer==0.2.1.post1 && pip install tensorboard  # which it imports
    python -m benchmarks.distill_speed --data DATA/sst2 --teacher MODEL --textbrewer TB [--rounds 3] [--rows 3200]

Purpose: what `distill` costs. The same work for all: a fine-tuned 6 x 384 BERT as teacher, its half-depth student with
the same start, softened logits and four hidden terms (embeddings and three layers), SST-2 training rows, batches of 32,
one epoch. Each side runs in a process of its own, in random order within every round, ours three times: they take a
fifth of the others' time, in which one disturbance weighs five times as much. A ratio is that of two sides of a round,
by all their seconds in it, its interval the smallest and largest of the rounds. `--long` rows are then trained on once
by two sides, to see that the faster one learns as much. Finished runs are kept in OUT, so that a broken benchmark goes
on.
About 45 minutes on two cores that nothing else uses. Writes results/distill_speed.json.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.claims import claim
from benchmarks.record import record
from compress.core.environment import cores

ROOT = Path(__file__).resolve().parents[1]
LIVE, STORED = "stillroom, live teacher", "stillroom, stored signals"
LONGEST, FIXED, TRAINER = "TextBrewer, padded to the longest", "TextBrewer, padded to 128", "Trainer with a teacher"
SIDES: dict[str, dict[str, Any]] = {
    LIVE: {"trainer": "stillroom", "mode": "live"},
    STORED: {"trainer": "stillroom", "mode": "stored"},
    LONGEST: {"trainer": "textbrewer", "pad": 0},
    FIXED: {"trainer": "textbrewer", "pad": 128},
    TRAINER: {"trainer": "trainer", "pad": 0},
}
TIMES = {LIVE: 3, STORED: 3}  # runs in a round; of others one
TARGETS = {LONGEST: ">= 5", FIXED: ">= 15", TRAINER: ">= 2"}
BATCH, RATE, SEED = 32, 1e-4, 13
DEV_ROWS = 872
Row = dict[str, Any]


def main() -> None:
    """Run what is not done, then record."""
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    start = student(options)
    chance = random.Random(SEED)
    rows: list[Row] = []
    for number in range(options.rounds):
        runs = [(side, time) for side in SIDES for time in range(TIMES.get(side, 1))]
        for side, time in chance.sample(runs, len(runs)):
            rows.append(measured(side, options.rows, (number, time), start, options))
    rows += [measured(side, options.long, (0, 0), start, options) for side in (LIVE, LONGEST)]
    for one in [*rows, *(found := claims(rows, options))]:
        print(json.dumps(one))
    print(record("distill_speed", [SEED + one for one in range(options.rounds)], rows, found).relative_to(ROOT))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.jsonl and dev.jsonl")
    parser.add_argument("--teacher", type=Path, required=True, help="a BERT of six layers, fine-tuned on the data")
    parser.add_argument("--textbrewer", type=Path, required=True, help="folder that TextBrewer is installed in")
    parser.add_argument("--rows", type=int, default=3200, help="training rows of each run")
    parser.add_argument("--long", type=int, default=12800, help="training rows of the run whose accuracy is compared")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument(
        "--out", type=Path, default=ROOT / "runs" / "distill-speed", help="where finished runs are kept"
    )
    return parser.parse_args()


def student(options: argparse.Namespace) -> Path:
    """The untrained half-depth student, so that every trainer starts from the same weights."""
    from transformers import AutoModelForSequenceClassification

    from compress.students.distilbert import DistilBertStudent

    folder: Path = options.out / "start"
    if not (folder / "model.safetensors").is_file():
        teacher = AutoModelForSequenceClassification.from_pretrained(options.teacher)
        built = DistilBertStudent().build(teacher, AutoModelForSequenceClassification)
        built.model.save_pretrained(folder)
    return folder


def measured(side: str, rows: int, place: tuple[int, int], start: Path, options: argparse.Namespace) -> Row:
    """One run, or what was kept of it. place: its round, and which run of the side in that round it is."""
    number, time = place
    name = f"{list(SIDES).index(side)}-{rows}-{number}" + (f"-{time}" if time else "")
    kept: Path = options.out / f"{name}.json"
    if kept.is_file():
        done: Row = json.loads(kept.read_text(encoding="utf-8"))
        return done
    scratch: Path = options.out / "scratch" / name
    shutil.rmtree(scratch, ignore_errors=True)  # signals of a run that was broken off would be found by this one
    asked = {
        "pad": 0, **SIDES[side], "data": str(options.data), "teacher": str(options.teacher), "student": str(start),
        "textbrewer": str(options.textbrewer), "scratch": str(scratch), "rows": rows,
        "batch": BATCH, "learning_rate": RATE, "threads": options.threads, "seed": SEED + number,
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.distill_drivers", json.dumps(asked)]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    if told.returncode:
        raise SystemExit(f"{side} failed:\n{told.stderr[-2000:]}")
    done = json.loads(told.stdout.splitlines()[-1])
    seconds = done["seconds"] + done.get("labelling_seconds", 0.0)
    row = {"side": side, "round": number, **done, "rows_per_second": rows / seconds, "threads": options.threads}
    kept.write_text(json.dumps(row), encoding="utf-8")
    print(json.dumps(row), flush=True)
    return row


def claims(rows: list[Row], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Ratios of throughput in the same round, memory, and accuracy after the long run."""
    short = [row for row in rows if row["rows"] == options.rows]
    made = []
    for mine in (LIVE, STORED):
        for theirs, target in TARGETS.items():
            ratios = [rate(short, mine, number) / rate(short, theirs, number) for number in range(options.rounds)]
            name = f"{mine}: throughput over {theirs}"
            made.append(claim(name, statistics.median(ratios), target, "times", (min(ratios), max(ratios))))
    peak = {side: max(row["peak_mb"] for row in short if row["side"] == side) for side in SIDES}
    for mine in (LIVE, STORED):
        made.append(
            claim(
                f"{mine}: peak memory over TextBrewer's, padded to the longest",
                peak[mine] / peak[LONGEST],
                "<= 1",
                "times",
            )
        )
    long = {row["side"]: row["accuracy"] for row in rows if row["rows"] == options.long}
    made.append(claim("dev accuracy above TextBrewer's after the same rows", *difference(long[LIVE], long[LONGEST])))
    return made


def rate(rows: list[Row], side: str, number: int) -> float:
    """Training rows per second of one side in one round, over all its runs."""
    runs = [row for row in rows if row["side"] == side and row["round"] == number]
    found: float = sum(row["rows"] for row in runs) / sum(row["rows"] / row["rows_per_second"] for row in runs)
    return found


def difference(mine: float, theirs: float) -> tuple[float, str, str]:
    """The difference in points; met when it is not below by more than two standard errors of a share of dev."""
    share = theirs / 100
    noise = 2 * 100 * (2 * share * (1 - share) / DEV_ROWS) ** 0.5
    return mine - theirs, f">= {-noise:.2f}", "points"


if __name__ == "__main__":
    main()
