"""Predictions of a model before and after its vocabulary was cut, on every text that the new one covers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

BATCH = 64


def compare(teacher: str, fewer: Path, corpus: Path, out: Path) -> None:
    """Write `{train, dev: {texts, covered, ...}, changed, largest}`, once.

    changed: covered texts whose predicted label differs; largest: the largest difference of a logit.
    """
    from compress.corpora.corpus import Corpus
    from compress.prune.coverage import coverage, covered
    from compress.train.folder import load_model

    if out.is_file():
        return
    one, two = (load_model(str(place), "AutoModelForSequenceClassification") for place in (teacher, fewer))
    found: dict[str, Any] = {"changed": 0, "largest": 0.0}
    for split in ("train", "dev"):
        rows = [[row["text"]] for row in Corpus.open(corpus).texts(split)]
        same = [row[0] for row, inside in zip(rows, covered(one.tokenizer, two.tokenizer, rows), strict=True) if inside]
        mine, theirs = (logits(loaded, same) for loaded in (one, two))
        changed = int((mine.argmax(-1) != theirs.argmax(-1)).sum())
        apart = float((mine - theirs).abs().max()) if same else 0.0
        found[split] = {"covered": len(same), "changed": changed, **coverage(one.tokenizer, two.tokenizer, rows)}
        found["changed"] += changed
        found["largest"] = max(found["largest"], apart)
    out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def logits(loaded: Any, texts: Sequence[str]) -> Tensor:
    """`[n, c]` in the order of the texts; both models see the same texts in one batch, as long as each other's."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    found: list[Tensor] = [torch.empty(0)] * len(texts)
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            inputs = loaded.tokenizer(
                [texts[row] for row in rows], truncation=True, max_length=128, padding=True, return_tensors="pt"
            )
            for row, values in zip(rows, loaded.model(**inputs).logits, strict=True):
                found[row] = values
    return torch.stack(found) if found else torch.empty(0, 2)
