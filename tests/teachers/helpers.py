"""A corpus and checkpoints small enough to be taught in a second."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from transformers import AutoModel, AutoModelForSequenceClassification

from compress.core.artifact import ArtifactWriter
from compress.core.reporter import Reporter
from compress.corpora.corpus import write_splits
from compress.corpora.tokenizers.base import TOKENIZERS
from compress.steps.base import Context
from teachers.families.base import FAMILIES, Shape
from teachers.steps.teach import Teach

GOOD = ("fine", "warm", "bright", "kind", "fresh", "lovely", "calm", "rich")
BAD = ("dull", "cold", "grim", "mean", "stale", "ugly", "harsh", "poor")
REST = ("the", "soup", "room", "a", "film", "was", "and", "very", "walk", "song", "here", "quite")
TINY: dict[str, Any] = {"layers": 2, "width": 32, "heads": 2, "ffn": 64, "dropout": 0.0}
QUICK: dict[str, Any] = {"epochs": 4, "learning_rate": 5e-3, "batch_size": 16, "max_length": 16, "precision": "fp32"}


class Ears(Reporter):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def sentences(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows whose label is the kind of one word in them."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        label = number % 2
        words = [*draw.choices(REST, k=5), draw.choice((BAD, GOOD)[label])]
        draw.shuffle(words)
        rows.append({"text": " ".join(words), "label": label})
    return rows


def corpus_of(folder: Path, splits: dict[str, list[dict[str, Any]]], task: dict[str, Any], labels: list[str]) -> Path:
    """A Corpus artifact of these rows."""
    writer = ArtifactWriter(folder)
    rows = write_splits(writer.open(), splits)
    about = {"task": task, "labels": labels, "rows": rows, "slices": False}
    return writer.commit({"kind": "Corpus", "key": "k", "about": about})


def small_corpus(folder: Path, labels: tuple[str, ...] = ("bad", "good"), train: int = 240) -> Path:
    """Two classes, learnt from single words; with a test split and unlabelled text."""
    splits = {"train": sentences(train, 1), "dev": sentences(64, 2), "test": sentences(64, 3)}
    splits["unlabeled"] = [{"text": row["text"]} for row in sentences(64, 4)]
    return corpus_of(folder, splits, {"classify": {"text": "text", "text_pair": None, "label": "label"}}, list(labels))


def small_checkpoint(
    folder: Path, family: str = "bert", labels: list[str] | None = None, shape: dict[str, Any] | None = None
) -> Path:
    """An untrained Hugging Face folder over the words of `small_corpus`, with a head when labels are given."""
    kind = FAMILIES.get(family)()
    texts = [row["text"] for row in sentences(200, 5)]
    tokenizer = TOKENIZERS.get(kind.tokenizer)(size=300).train(texts, 16)
    config = kind.config(Shape(**{**TINY, **(shape or {})}, max_length=16), tokenizer)
    if labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: index for index, name in enumerate(labels)}
    model = (AutoModel if labels is None else AutoModelForSequenceClassification).from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def taught(model: Any, corpus: Path, folder: Path, reporter: Reporter | None = None, **options: Any) -> Path:
    """Run `teach` the way a recipe does and write its artifact."""
    step = Teach.model_validate({"corpus": "$corpus", "model": model, **QUICK, **options})
    writer = ArtifactWriter(folder)
    context = Context("teacher", {"$corpus": corpus}, writer.open(), folder.parent / f"{folder.name}-work", 7)
    context.reporter = reporter or Ears()
    step.run(context)
    return writer.commit(
        {"kind": "Model", "key": "t", "about": context.about, "measured": context.measured, "options": step.dump()}
    )
