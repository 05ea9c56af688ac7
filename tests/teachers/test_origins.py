"""Where a teacher comes from: bare names, and every checkpoint that cannot be one is refused with a remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import GPT2Config

from compress.core.errors import InputError
from compress.core.options import faults_of, identity, refs
from compress.corpora.corpus import Corpus
from compress.corpora.running_text import corpus_texts
from teachers.origins.base import Origin
from teachers.origins.pretrained import Pretrained
from teachers.origins.scratch import Scratch
from teachers.steps.teach import Teach
from tests.teachers.helpers import Ears, small_checkpoint, small_corpus, taught


def _origin(model: Any) -> Origin:
    return Teach.model_validate({"corpus": "$corpus", "model": model}).model


def test_a_bare_text_is_a_checkpoint() -> None:
    """DESIGN's example writes `model: bert-base-uncased`; it must mean the same as the long form."""
    short, long = _origin("bert-base-uncased"), _origin({"pretrained": {"name": "bert-base-uncased"}})
    assert short == long == Pretrained(name="bert-base-uncased")
    assert _origin("scratch") == Scratch()


def test_the_model_of_an_earlier_step_is_a_reference() -> None:
    """Without the mark the plan would not see that the teacher depends on that step."""
    step = Teach.model_validate({"corpus": "$corpus", "model": "$general"})
    assert [(path, value) for path, value, _ in refs(step)] == [
        ("corpus", "$corpus"),
        ("model.pretrained.name", "$general"),
    ]


def test_a_default_is_part_of_the_identity() -> None:
    """A filled recipe and a short one must have one key, and another revision another key."""
    short, long = (Teach.model_validate({"corpus": "$c", "model": m}) for m in ("a/b", {"pretrained": {"name": "a/b"}}))
    pinned = Teach.model_validate({"corpus": "$c", "model": {"pretrained": {"name": "a/b", "revision": "f00"}}})
    assert identity(short) == identity(long) != identity(pinned)


@pytest.mark.parametrize(
    ("model", "path", "words"),
    [
        ({"scratch": {"width": 30, "heads": 4}}, "model.scratch", "width 30 cannot be divided among 4 heads"),
        ({"scratch": {"layerz": 3}}, "model.scratch.layerz", 'did you mean "layers"?'),
        ({"scratch": {"family": "gpt2"}}, "model.scratch.family", "not a known family"),
        ({"scratch": {"tokenizer": {"wordpiece": {"size": 3}}}}, "model.scratch.tokenizer.wordpiece.size", "30"),
        ({"scratch": {"warmup": {"epochs": 0}}}, "model.scratch.warmup.epochs", "greater than 0"),
        ({"pretrained": {}}, "model.pretrained.name", "required and missing"),
        (7, "model", "expected one origin"),
    ],
)
def test_faults_carry_their_place(model: Any, path: str, words: str) -> None:
    """A fault deep in the model without its path would send the user through the whole recipe."""
    with pytest.raises(ValidationError) as caught:
        Teach.model_validate({"corpus": "$corpus", "model": model})
    (fault,) = faults_of(caught.value, Teach)
    assert fault.path == path
    assert words in fault.message


def _preflight(model: Any, **options: Any) -> str:
    step = Teach.model_validate({"corpus": "$corpus", "model": model, **options})
    return "\n".join(f"{fault.path}: {fault.message}" for fault in step.preflight())


def test_preflight_names_what_cannot_be_a_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these would otherwise fail after the corpus was prepared and the time was spent."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    GPT2Config(n_layer=1).save_pretrained(tmp_path / "gpt2")
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04")
    assert "model.pretrained.name: " in _preflight(str(tmp_path / "nowhere")) and "no such folder" in _preflight(
        "./nowhere"
    )
    assert "config.json" in _preflight(str(tmp_path / "empty"))
    assert "family 'gpt2'" in _preflight(str(tmp_path / "gpt2"))
    assert "a pickle where weights should be" in _preflight(str(tmp_path / "pickled"))
    short = small_checkpoint(tmp_path / "short", "roberta")
    assert "reads at most 16 tokens" in _preflight(str(short), max_length=17)
    assert _preflight(str(short), max_length=16) == ""
    assert _preflight("$general") == ""


def test_a_hub_name_offline_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, a hub name that is not cached must say so before anything is spent, not after a time-out."""
    monkeypatch.setattr("teachers.origins.pretrained.is_offline_mode", lambda: True)
    message = _preflight("nobody/no-such-model")
    assert "offline mode" in message and "give the path of a model folder" in message


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (["good", "bad"], r"in the order good, bad, the corpus in the order bad, good.*labels: \[good, bad\]"),
        (["a", "b", "c"], r"its head has 3 outputs \(a, b, c\), the corpus needs 2.*head: fresh"),
        (["up", "down"], r"for the labels up, down, the corpus has bad, good"),
    ],
)
def test_a_head_for_other_labels_is_explained(own: list[str], words: str, tmp_path: Path) -> None:
    """MNLI at 10 %: a head whose labels stand in another order trains and scores as if nothing were wrong."""
    checkpoint = small_checkpoint(tmp_path / "checkpoint", labels=own)
    with pytest.raises(InputError, match=words):
        taught(str(checkpoint), small_corpus(tmp_path / "corpus"), tmp_path / "out")


def test_a_fresh_head_replaces_the_checkpoints_own(tmp_path: Path) -> None:
    """`head: fresh` is the remedy that the messages name; it must change the head and keep the body."""
    checkpoint = small_checkpoint(tmp_path / "checkpoint", labels=["good", "bad"])
    model = {"pretrained": {"name": str(checkpoint), "head": "fresh"}}
    out = taught(model, small_corpus(tmp_path / "corpus"), tmp_path / "out", epochs=0.01, learning_rate=1e-9)
    about = json.loads((out / "manifest.json").read_text())["about"]
    assert about["origin"]["new_weights"] == ["classifier.bias", "classifier.weight"]
    before, after = (load_file(folder / "model.safetensors") for folder in (checkpoint, out))
    body = "bert.encoder.layer.0.output.dense.weight"
    torch.testing.assert_close(before[body], after[body], atol=1e-6, rtol=0)
    assert (before["classifier.weight"] - after["classifier.weight"]).abs().max() > 1e-3


def test_a_head_without_label_names_is_kept_with_a_warning(tmp_path: Path) -> None:
    """LABEL_0 says nothing about the order; the user must at least be told what was assumed."""
    checkpoint = small_checkpoint(tmp_path / "checkpoint", labels=["LABEL_0", "LABEL_1"])
    ears = Ears()
    taught(str(checkpoint), small_corpus(tmp_path / "corpus"), tmp_path / "out", reporter=ears, epochs=0.1)
    assert any("taken to be bad, good" in warning for warning in ears.warnings)


def test_damaged_weights_are_found_before_training(tmp_path: Path) -> None:
    """Finite weights can still overflow; training from them would end in a loss that is not finite, without a cause."""
    checkpoint = small_checkpoint(tmp_path / "checkpoint")
    path = checkpoint / "model.safetensors"
    weights = load_file(path)
    weights["encoder.layer.1.output.dense.weight"].fill_(3e38)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match="NaN or infinite before training"):
        taught(str(checkpoint), small_corpus(tmp_path / "corpus"), tmp_path / "out")


def test_scratch_reads_no_dev_and_no_test_text(tmp_path: Path) -> None:
    """A vocabulary learnt from the test split knows words that it should never have seen."""
    texts = corpus_texts(Corpus.open(small_corpus(tmp_path / "corpus")))
    assert len(texts) == 240 + 64
