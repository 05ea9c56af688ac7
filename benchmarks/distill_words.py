"""Sentences without tags for a teacher to judge: texts of other tasks' train rows, and of novels, as words."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

# Much as the tagged corpus has them: clitics apart; numbers, 1st, U.S. and Mr. whole; signs one by one.
TITLES = "mr mrs ms dr prof rev gov sen rep gen col lt sgt capt st jr sr co corp inc ltd bros vs"
MONTHS = "jan feb mar apr aug sept oct nov dec"
WORDS = re.compile(
    rf"(?i)\b(?:{'|'.join((TITLES + ' ' + MONTHS).split())})\.|n't\b|'(?:s|re|ve|ll|d|m)\b|--|\d+(?:st|nd|rd|th|s)\b"
    r"|\d+(?:[.,:/]\d+)*|\w(?:\.\w)+\.?|\w+?(?=n't\b)|\w+(?:[.&-]\w+)*|[^\w\s]"
)
ENDS = re.compile(r"(?<= [.?!]) ")
SENTENCES = re.compile(r"(?<=[.?!])[\"'”’]*\s")  # of running text
LEAST, MOST = 4, 60  # words of a sentence
NOVEL_SENTENCES = 30_000  # as many as all other texts together, drawn by a fixed seed


def write_words(data: Path, out: Path) -> Path:
    """A JSON Lines file of `{"tokens": [...]}`: each different sentence of the tasks' texts and the novels once."""
    out.parent.mkdir(parents=True, exist_ok=True)
    seen = {tuple(words): None for words in _sentences(data) if LEAST <= len(words) <= MOST}
    text = "".join(json.dumps({"tokens": list(words)}) + "\n" for words in seen)
    if not out.is_file() or out.read_text(encoding="utf-8") != text:
        beside = out.with_name(f".{out.name}-{os.getpid()}")
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, out)  # other runs may be reading it
    return out


def _sentences(data: Path) -> Iterator[list[str]]:
    yield from _pairs(data / "mrpc")
    for article in json.loads((data / "squad" / "train.json").read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:  # which are tokenised already
            for sentence in ENDS.split(paragraph["context"]):
                yield sentence.split()
    yield from _pairs(data / "stsb")
    novels = [
        WORDS.findall(sentence)
        for path in sorted((data / "novels").glob("*.txt"))
        for paragraph in re.split(r"\n\s*\n", path.read_text(encoding="utf-8", errors="replace"))
        for sentence in SENTENCES.split(" ".join(paragraph.split()))
    ]
    yield from random.Random(1).sample(novels, min(NOVEL_SENTENCES, len(novels)))


def _pairs(folder: Path) -> Iterator[list[str]]:
    for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for column in ("text_a", "text_b"):
            yield WORDS.findall(row[column])
