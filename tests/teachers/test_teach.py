"""`teach` end to end on tiny models: it learns, keeps label order, records what it did, and reloads equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

from compress.core.artifact import verify
from teachers.families.base import FAMILIES
from teachers.modes.base import MODES
from tests.teachers.helpers import QUICK, TINY, Ears, corpus_of, sentences, small_checkpoint, small_corpus, taught

CPU: dict[str, Any] = {"device": "cpu"}  # where two trainings are equal bit for bit


def _manifest(folder: Path) -> dict[str, Any]:
    return verify(folder, "Model")


@pytest.mark.parametrize("family", FAMILIES.names())
def test_a_teacher_from_scratch_learns_and_reloads(family: str, tmp_path: Path) -> None:
    """The quickstart's path: nothing but the corpus goes in, a stock Hugging Face folder comes out."""
    model = {"scratch": {"family": family, "tokenizer": None, **TINY}}
    out = taught(model, small_corpus(tmp_path / "corpus"), tmp_path / "out")
    manifest = _manifest(out)
    measured, about = manifest["measured"], manifest["about"]
    assert measured["dev"]["accuracy"] > 0.9 and measured["test"]["accuracy"] > 0.9
    assert measured["above_chance"] and measured["chance"] == 0.5
    assert {"history", "best_step", "examples_per_second", "truncated_share", "unknown_share"} <= set(measured)
    assert about["family"] == family and about["inputs"] == sorted(
        FAMILIES.get(family).inputs, key=about["inputs"].index
    )
    plain = AutoModelForSequenceClassification.from_pretrained(out).eval()
    tokenizer = AutoTokenizer.from_pretrained(out)
    with torch.no_grad():
        logits = plain(**tokenizer(["the soup was fine", "a dull film"], padding=True, return_tensors="pt")).logits
    assert logits.argmax(-1).tolist() == [1, 0]
    assert plain.config.id2label == {0: "bad", 1: "good"}


@pytest.mark.parametrize("family", FAMILIES.names())
def test_a_pretrained_teacher_learns_in_the_order_of_the_corpus(family: str, tmp_path: Path) -> None:
    """The corpus says which index is which label; the checkpoint's defaults must not survive in the config."""
    checkpoint = small_checkpoint(tmp_path / "checkpoint", family)
    corpus = small_corpus(tmp_path / "corpus", labels=("zebra", "ant"))
    gentle = {"epochs": 10, "learning_rate": 1e-3} if family == "mpnet" else {"epochs": 6}  # 5e-3 is too much for it
    out = taught(str(checkpoint), corpus, tmp_path / "out", **gentle)
    config = json.loads((out / "config.json").read_text())
    assert config["id2label"] == {"0": "zebra", "1": "ant"}
    assert config["label2id"] == {"zebra": 0, "ant": 1}
    manifest = _manifest(out)
    assert manifest["measured"]["dev"]["accuracy"] > 0.9
    assert any(name.startswith("classifier") for name in manifest["about"]["origin"]["new_weights"])


def test_the_same_seed_gives_the_same_teacher(tmp_path: Path) -> None:
    """Vocabulary, weights, dropout, masking and batches all draw; one that escapes the seed breaks resuming."""
    corpus = small_corpus(tmp_path / "corpus", train=60)
    scratch = {**TINY, "dropout": 0.1, "warmup": {"epochs": 1, "precision": "fp32", **CPU}}
    weights = []
    for name in ("one", "two"):
        torch.rand(3)
        out = taught({"scratch": scratch}, corpus, tmp_path / name, epochs=1, **CPU)
        weights.append(load_file(out / "model.safetensors"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_finished_warm_up_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off in its second half, a teacher must not pay for the first half twice."""
    corpus = small_corpus(tmp_path / "corpus", train=60)
    model = {"scratch": {**TINY, "warmup": {"epochs": 1, "precision": "fp32", **CPU}}}
    first = taught(model, corpus, tmp_path / "out", epochs=1, **CPU)
    weights = load_file(first / "model.safetensors")
    assert _manifest(first)["measured"]["warmup"]["texts"] == 60 + 64

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the warm-up was trained again")

    monkeypatch.setattr("teachers.warm_up.fit", refuse)
    again = load_file(taught(model, corpus, tmp_path / "out", epochs=1, **CPU) / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_damaged_warm_up_is_done_again(tmp_path: Path) -> None:
    """A file cut off by a power failure must not become the body of a teacher."""
    corpus = small_corpus(tmp_path / "corpus", train=60)
    model = {"scratch": {**TINY, "warmup": {"epochs": 1, "precision": "fp32", **CPU}}}
    first = load_file(taught(model, corpus, tmp_path / "out", epochs=1, **CPU) / "model.safetensors")
    body = tmp_path / "out-work" / "warmup" / "body.safetensors"
    body.write_bytes(body.read_bytes()[:-8])
    again = load_file(taught(model, corpus, tmp_path / "out", epochs=1, **CPU) / "model.safetensors")
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_teacher_that_learnt_nothing_is_warned_about(tmp_path: Path) -> None:
    """Distilling from a teacher that was never fine-tuned ends with exit 0 and 30 % accuracy."""
    ears = Ears()
    corpus = small_corpus(tmp_path / "corpus", train=40)
    out = taught({"scratch": TINY}, corpus, tmp_path / "out", ears, epochs=0.1, learning_rate=1e-9)
    assert _manifest(out)["measured"]["above_chance"] is False
    assert any("no better than a constant answer" in warning for warning in ears.warnings)


def test_texts_that_are_cut_are_warned_about(tmp_path: Path) -> None:
    """A max_length that cuts most texts shows up as a poor teacher and nothing else."""
    ears = Ears()
    long = sentences(40, 9)
    rows = [{"text": " ".join([row["text"]] * 3), "label": row["label"]} for row in long]
    other = corpus_of(tmp_path / "long", {"train": rows, "dev": rows}, {"classify": {}}, ["bad", "good"])
    out = taught({"scratch": TINY}, other, tmp_path / "out", ears, epochs=0.1)
    assert _manifest(out)["measured"]["truncated_share"] == 1.0
    assert any("100.0% of the texts are cut to max_length 16" in warning for warning in ears.warnings)


@pytest.mark.parametrize("family", FAMILIES.names())
def test_tags_pairs_and_values_are_taught_too(family: str, tmp_path: Path) -> None:
    """A head, a collator or a label list that only single texts exercise breaks on the other tasks."""
    rows = [
        {"tokens": row["text"].split(), "tags": [int(len(w) > 4) for w in row["text"].split()]}
        for row in sentences(120, 1)
    ]
    tags = corpus_of(tmp_path / "tags", {"train": rows, "dev": rows[:30]}, {"tag": {}}, ["short", "long"])
    out = taught({"scratch": {"family": family, **TINY}}, tags, tmp_path / "tagger", epochs=8)
    assert _manifest(out)["measured"]["dev"]["f1"] > 0.8
    assert AutoModelForTokenClassification.from_pretrained(out).config.id2label == {0: "short", 1: "long"}
    pairs = [{"text": row["text"], "text_pair": "so", "score": float(row["label"])} for row in sentences(120, 1)]
    values = corpus_of(tmp_path / "values", {"train": pairs, "dev": pairs[:30]}, {"regress": {}}, [])
    out = taught({"scratch": {"family": family, **TINY}}, values, tmp_path / "regressor", epochs=0.2)
    measured = _manifest(out)["measured"]
    assert all(np.isfinite(value) for value in measured["dev"].values())
    assert _manifest(out)["about"]["labels"] == []


@pytest.mark.parametrize("name", MODES.names())
def test_every_mode_gives_back_the_model(name: str, tmp_path: Path) -> None:
    """What a mode wraps or freezes for training must not reach the saved teacher."""
    out = taught(
        {"scratch": TINY}, small_corpus(tmp_path / "corpus", train=40), tmp_path / "out", mode=name, epochs=0.1
    )
    assert _manifest(out)["options"]["mode"] == {name: {}}
    assert QUICK["max_length"] == _manifest(out)["about"]["max_length"]
