"""Labelling and reading stored signals: rows per second and peak memory, which must not grow with the rows.

    python -m benchmarks.labelling [--rows 100000 1000000] [--out runs/labelling] [--keep-files]

Purpose: the claim that memory is flat. Synthetic text (words of the generated reviews, 4 to 24 in a row), a random
teacher of 2 layers and width 128; kept are the logits and the last hidden state in fp16. Each size runs in a process
of its own: `label` writes the artifact, then a second process reads every row once in shuffled batches of 32, as an
epoch does. A size that was measured is not measured again, one that was cut off starts anew, since a rate over a part
of the rows would say nothing. Writes results/labelling.json. 1 M rows need about 5 GB of disk, given back at the end.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.claims import claim
from benchmarks.record import record
from benchmarks.shapes import SEED, Shape, make_corpus, make_model

TEACHER = Shape("tiny-teacher", "bert", 2, 128, 2, 512)
CHUNK = 2_000  # rows that are generated, written and read at a time
BATCH = 32
MB = 1e6


def main() -> None:
    """Measure what is not measured yet, then record."""
    options = arguments()
    if options.job:
        job = {"label": label_rows, "read": read_rows}[options.job]
        print(json.dumps(job(options.out, options.rows[0])))
        return
    make_model(TEACHER, options.out / "teacher", make_corpus(options.out / "words"))
    rows = [measured(options.out, count, options.keep_files) for count in sorted(options.rows)]
    print(record("labelling", [SEED], rows, claims(rows)))


def arguments() -> argparse.Namespace:
    """What the command line says. `--job` is for the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--out", type=Path, default=Path("runs/labelling"))
    parser.add_argument("--keep-files", action="store_true", help="leave corpora and signals for a closer look")
    parser.add_argument("--job", choices=("label", "read"), help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(out: Path, count: int, keep: bool) -> dict[str, Any]:
    """One row of the results: of a run before, or measured now."""
    done = out / f"rows-{count}.json"
    if done.is_file():
        found: dict[str, Any] = json.loads(done.read_text())
        return found
    corpus, signals = out / f"corpus-{count}", out / f"signals-{count}"
    for leftover in (signals, out / f".work-{signals.name}"):
        shutil.rmtree(leftover, ignore_errors=True)
    write_corpus(corpus, words_of(out / "words"), count)
    row = {"rows": count, **child(out, count, "label"), **child(out, count, "read")}
    if not keep:
        shutil.rmtree(corpus)
        shutil.rmtree(signals)
    done.write_text(json.dumps(row))
    return row


def child(out: Path, count: int, job: str) -> dict[str, Any]:
    """A job in a process of its own; what it printed last."""
    command = [sys.executable, "-m", "benchmarks.labelling", "--job", job, "--out", str(out), "--rows", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{job} of {count} rows failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def label_rows(out: Path, count: int) -> dict[str, Any]:
    """Label a corpus: seconds of the whole call (model loading, hashing and index with it), peak memory."""
    from compress.signals.keep import Keep
    from teachers.signals import label

    began = time.perf_counter()
    signals = label(
        out / f"corpus-{count}", out / "teacher", out / f"signals-{count}", keep=Keep(hidden="last"), device="cpu"
    )
    seconds = time.perf_counter() - began
    held = sum(path.stat().st_size for path in signals.folder.iterdir())
    return {
        "label_rows_per_second": round(count / seconds, 1),
        "label_seconds": round(seconds, 2),
        "label_peak_mb": peak_mb(),
        "signals_mb": round(held / MB, 1),
        "shards": len(signals.names),
        "dtype": signals.facts.kept.dtype,
        "precision": signals.facts.origin.precision,
    }


def read_rows(out: Path, count: int) -> dict[str, Any]:
    """Read every row once in shuffled batches, tokens from the corpus a chunk at a time; seconds of the store alone."""
    import torch
    from transformers import AutoTokenizer

    from compress.anatomy.capture import Wanted
    from compress.corpora.corpus import Corpus
    from compress.distill.stored import StoredTeacher
    from compress.signals.store import Signals
    from compress.tasks.classify import Classify
    from compress.tasks.features import collator, encode_rows

    signals = Signals.open(out / f"signals-{count}", hashed=False)
    teacher = StoredTeacher(signals)
    teacher.want(Wanted(hidden=frozenset({2})))
    task, tokenizer = Classify(), AutoTokenizer.from_pretrained(out / "teacher")
    collate, draw = collator(task, tokenizer.pad_token_id), random.Random(SEED)
    seconds, seen = 0.0, 0
    for rows in Corpus.open(out / f"corpus-{count}").chunks("train", CHUNK):
        features = list(encode_rows(task, tokenizer, rows, signals.facts.origin.max_length))
        draw.shuffle(features)
        for start in range(0, len(features), BATCH):
            batch = collate(features[start : start + BATCH], torch.Generator())
            began = time.perf_counter()
            teacher.trace(batch)
            seconds += time.perf_counter() - began
            seen += len(batch["input_ids"])
    assert seen == count == teacher.found
    return {"read_rows_per_second": round(count / seconds, 1), "read_peak_mb": peak_mb()}


def peak_mb() -> float:
    """Most memory that this process ever had resident, mapped files with it. Linux only: getrusage would count the
    parent's memory at the fork.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return round(kib * 1024 / MB, 1)


def words_of(folder: Path) -> list[str]:
    """Words of the small corpus that the teacher's tokenizer was made of."""
    from compress.corpora.corpus import Corpus

    return sorted({word for row in Corpus.open(folder / "corpus").texts("train") for word in row["text"].split()})


def write_corpus(folder: Path, words: list[str], count: int) -> Path:
    """A Corpus artifact of so many rows, written a chunk at a time and made once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from compress.core.artifact import MANIFEST, ArtifactWriter
    from compress.corpora.corpus import TYPES

    if (folder / MANIFEST).is_file():
        return folder
    writer = ArtifactWriter(folder)
    path = writer.open() / "train.parquet"
    schema = pa.schema([(name, TYPES[name]) for name in ("text", "label")])
    with pq.ParquetWriter(path, schema) as stream:
        for rows in texts(words, count):
            stream.write_table(pa.Table.from_pylist(rows, schema))
    about = {"task": {"classify": {}}, "labels": ["negative", "positive"], "rows": {"train": count}, "slices": False}
    return writer.commit({"kind": "Corpus", "key": f"synthetic-{count}", "about": about})


def texts(words: list[str], count: int) -> Iterator[list[dict[str, Any]]]:
    """Rows of random words, in chunks."""
    draw = random.Random(SEED)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        yield [{"text": " ".join(draw.choices(words, k=draw.randint(4, 24))), "label": n % 2} for n in range(size)]


def claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Memory of the most rows as a share of that of the fewest, in writing and in reading."""
    few, many = rows[0], rows[-1]
    return [
        claim(
            f"{what} {many['rows']:,} rows: peak memory against {few['rows']:,}",
            round(many[f"{key}_peak_mb"] / few[f"{key}_peak_mb"], 4),
            "<= 1.1",
            "times",
        )
        for what, key in (("labelling", "label"), ("reading", "read"))
    ]


if __name__ == "__main__":
    main()
