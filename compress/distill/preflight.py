"""What is told of data and time before a student is paid for: dev rows in train, texts that are cut off, how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compress.core.artifact import read_manifest
from compress.core.reporter import Reporter
from compress.corpora.checks import text_facts
from compress.corpora.corpus import Corpus

OVERLAP = 0.01
CUT = 0.05


def overlap(corpus: Corpus, reporter: Reporter) -> dict[str, float]:
    """Share of dev and test whose text also stands in train, as `prepare` recorded it or counted here."""
    checks = read_manifest(corpus.folder, "Corpus").get("about", {}).get("checks") or {}
    shares: Mapping[str, float] | None = checks.get("overlap")
    if shares is None:
        shares = text_facts({split: corpus.texts(split) for split in ("train", "dev", "test") if corpus.has(split)})[
            "overlap"
        ]
    for split, share in shares.items():
        if share >= OVERLAP:
            use = "which weights are kept, and the score," if split == "dev" else "the score"
            reporter.warn(f"{share:.1%} of {split} also stands in train, so {use} will flatter; remove those rows")
    return dict(shares)


def cut_off(
    features: Sequence[Mapping[str, Any]], max_length: int, reporter: Reporter, *, theirs: bool = False
) -> float:
    """Share of training rows of which a text fills `max_length` tokens: those were cut, but for the few that just fit.

    theirs: the rows are the teacher's own, and the length is the most that it reads.
    """
    if not features:
        return 0.0
    full = sum(max(len(row["input_ids"]), len(row.get("second") or ())) >= max_length for row in features)
    share = full / len(features)
    if share >= CUT:
        what, remedy = "max_length", "raise max_length if the teacher reads more"
        if theirs:
            what, remedy = "what the teacher reads", "cut the texts before, so that both models see the same"
        reporter.warn(
            f"{share:.1%} of the training rows fill {what} ({max_length} tokens) and lose what is past it; {remedy}"
        )
    return round(share, 6)


def projected_seconds(lengths: Sequence[int], epochs: float, tokens: int, seconds: float) -> float:
    """How long training will take when a batch of `tokens` took `seconds`: time goes with the tokens."""
    return sum(lengths) * epochs * seconds / max(1, tokens)


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
