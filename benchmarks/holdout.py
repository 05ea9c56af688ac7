"""A split for choosing recipes: whole sentences held out of SST-2's training rows, with everything cut from them.

    python -m benchmarks.holdout --data DATA/sst2 --out DATA/sst2-choose [--rows 1500] [--seed 13]

Purpose: learning rates, epochs and losses of the recipes are chosen here and never on dev or test. SST-2 trains on
sentences and on phrases of them, so a random row of it says little about dev, which has sentences only: this takes
sentences (rows that are part of no other row) as dev.jsonl, and drops from train.jsonl every row of four words or more
that is part of one of them.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

SHARED_WORDS = 4  # shorter rows ("a funny film") are the language, not a piece of one sentence
LONGEST = 70


def main() -> None:
    """Write the two files."""
    options = arguments()
    rows = [json.loads(line) for line in (options.data / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    held, rest = divide(rows, options.rows, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, part in (("dev", held), ("train", rest)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part)
        (options.out / f"{name}.jsonl").write_text(text, encoding="utf-8")
    print(f"{len(held)} sentences held out, {len(rest)} of {len(rows)} rows left to train on")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder to write train.jsonl and dev.jsonl into")
    parser.add_argument("--rows", type=int, default=1500, help="sentences to hold out")
    parser.add_argument("--seed", type=int, default=13)
    return parser.parse_args()


def divide(rows: list[dict[str, str]], count: int, seed: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """`count` sentences, and the rows that share no phrase with them."""
    inner: set[str] = set()
    for text in {row["text"] for row in rows}:
        inner.update(phrase for phrase in phrases(text) if phrase != text.strip())
    whole = [row for row in rows if len(row["text"].split()) >= SHARED_WORDS and row["text"].strip() not in inner]
    held = random.Random(seed).sample(whole, min(count, len(whole)))
    parts = {phrase for row in held for phrase in phrases(row["text"])}
    return held, [row for row in rows if row["text"].strip() not in parts]


def phrases(text: str) -> Iterator[str]:
    """Every run of words of `text` that is long enough to be a piece of it, itself included."""
    words = text.split()[:LONGEST]
    for start in range(len(words)):
        for end in range(start + SHARED_WORDS, len(words) + 1):
            yield " ".join(words[start:end])


if __name__ == "__main__":
    main()
