"""Model folders: saved equal, loaded with every fault named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from compress.core.errors import InputError, JobError
from compress.train.folder import load_model, save_student
from tests.runtime import tiny

CLASSIFY, TAG = "AutoModelForSequenceClassification", "AutoModelForTokenClassification"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with three labels, as an artifact."""
    return tiny.save(tmp_path_factory.mktemp("folder") / "bert", "bert", "classify")


@pytest.fixture
def plain(artifact: Path, tmp_path: Path) -> Path:
    """The same as a plain folder that may be changed."""
    folder = tmp_path / "plain"
    shutil.copytree(artifact, folder)
    (folder / "manifest.json").unlink()
    return folder


def test_about_tells_the_shape(artifact: Path) -> None:
    """The report and the plan read sizes from here and load no model."""
    about = json.loads((artifact / "manifest.json").read_text())["about"]
    assert about["family"] == "bert"
    assert about["architecture"] == {
        "layers": 2,
        "width": 32,
        "heads": 4,
        "ffn": 64,
        "vocabulary": about["architecture"]["vocabulary"],
    }
    counts = about["parameters"]
    assert counts["total"] == counts["embeddings"] + counts["encoder"] + counts["head"]
    assert counts["head"] == (32 * 32 + 32) + (32 * 3 + 3)
    assert about["inputs"] == ["input_ids", "token_type_ids", "attention_mask"]
    assert about["engine"] == {"torch": {"file": "model.safetensors", "dtype": "float32"}}
    assert {p.name for p in artifact.iterdir()} == {
        "README.md", "config.json", "golden.json", "manifest.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    card = (artifact / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card and "`bad`, `good`, `fair`" in card


def test_saved_folder_opens_with_stock_transformers(tmp_path: Path) -> None:
    """Equal outputs in plain Auto classes: a student that only we can open is no gift to anyone."""
    tokenizer = tiny.word_piece()
    tokenizer(tiny.TEXTS, padding="max_length", truncation=True, max_length=8)
    model = tiny.model_of("distilbert", "classify", tokenizer, ["a", "b"])
    rows = [{"text": text} for text in tiny.TEXTS]
    about = save_student(
        model, tokenizer, tmp_path, task=tiny.TASKS["classify"], labels=["a", "b"], max_length=24, golden_rows=rows
    )
    assert about["inputs"] == ["input_ids", "attention_mask"]
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    encoded = loaded(tiny.TEXTS, padding=True, truncation=True, return_tensors="pt")
    assert "token_type_ids" not in encoded and loaded.model_max_length == 24
    with torch.inference_mode():
        assert torch.allclose(again(**encoded).logits, model(**encoded).logits, rtol=1e-5, atol=1e-5)
    assert again.config.id2label == {0: "a", 1: "b"}
    assert json.loads((tmp_path / "tokenizer.json").read_text())["padding"] is None


def test_what_does_not_reload_equal_is_refused(tmp_path: Path) -> None:
    """A layer that the stock class does not know would come back random."""
    tokenizer = tiny.word_piece()
    model = tiny.model_of("bert", "classify", tokenizer, ["a", "b"])
    model.bert.encoder.layer[0].intermediate.dense = torch.nn.Sequential(torch.nn.Linear(32, 8), torch.nn.Linear(8, 64))
    with pytest.raises(JobError, match="does not load as it was"):
        save_student(
            model, tokenizer, tmp_path, task=tiny.TASKS["classify"], labels=["a", "b"], max_length=24,
            golden_rows=[{"text": "a"}],
        )  # fmt: skip


def test_nan_weights_are_not_saved(tmp_path: Path) -> None:
    """safetensors keeps NaN without a word."""
    tokenizer = tiny.word_piece()
    model = tiny.model_of("bert", "classify", tokenizer, ["a", "b"])
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    with pytest.raises(JobError, match=r"NaN or infinite weights: classifier\.bias"):
        save_student(
            model, tokenizer, tmp_path, task=tiny.TASKS["classify"], labels=["a", "b"], max_length=24,
            golden_rows=[{"text": "a"}],
        )  # fmt: skip


def test_artifact_round_trip(artifact: Path) -> None:
    """Labels, length and facts come from the manifest; nothing is new."""
    loaded = load_model(str(artifact), CLASSIFY)
    assert (loaded.missing, loaded.labels, loaded.max_length) == ([], ["bad", "good", "fair"], 24)
    assert loaded.about["family"] == "bert"
    assert not loaded.model.training and loaded.model.dtype == torch.float32


def test_body_gets_a_fresh_head(plain: Path) -> None:
    """A checkpoint without a head is the usual start of `teach`; the new weights must be named."""
    weights = {k: v for k, v in load_file(plain / "model.safetensors").items() if not k.startswith("classifier")}
    save_file({k.removeprefix("bert."): v for k, v in weights.items()}, plain / "model.safetensors", {"format": "pt"})
    loaded = load_model(str(plain), CLASSIFY, labels=["x", "y"])
    assert loaded.missing == ["classifier.bias", "classifier.weight"]
    assert loaded.labels == ["x", "y"] and loaded.model.config.num_labels == 2
    assert load_model(str(plain), CLASSIFY, num_labels=1).model.config.problem_type == "regression"
    roberta_length = load_model(str(plain), TAG, num_labels=3).max_length
    assert roberta_length == 24


def test_a_head_of_another_shape(plain: Path) -> None:
    """A three-way head under two labels must be refused, or replaced when asked for."""
    with pytest.raises(InputError, match="its head does not fit the labels"):
        load_model(str(plain), CLASSIFY, labels=["x", "y"])
    loaded = load_model(str(plain), CLASSIFY, labels=["x", "y"], fresh_head=True)
    assert loaded.missing == ["classifier.bias", "classifier.weight"]


def test_roberta_positions_start_after_padding(tmp_path: Path) -> None:
    """RoBERTa's 514 positions hold 512 tokens; the 513th is an index error."""
    folder = tiny.save(tmp_path / "roberta", "roberta", "classify")
    (folder / "manifest.json").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": 10**30}))
    loaded = load_model(str(folder), CLASSIFY)
    assert loaded.max_length == 64
    ids = torch.full((1, 64), 10)
    assert loaded.model(input_ids=ids).logits.shape == (1, 3)


def _weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], Any]:
    def apply(folder: Path) -> None:
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})

    return apply


def _config(**changes: Any) -> Callable[[Path], Any]:
    def apply(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return apply


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), r"no config\.json"),
    "config not JSON": (lambda f: (f / "config.json").write_text("{"), "not readable as JSON"),
    "no model type": (lambda f: (f / "config.json").write_text("{}"), "names no model_type"),
    "unknown architecture": (_config(model_type="nonesuch"), "cannot be loaded as a model"),
    "no such head": (_config(model_type="vit"), "cannot be loaded as a model"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"has no model\.safetensors"),
    "pickle": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "a pickle where weights"),
    "disguised pickle": (lambda f: (f / "model.safetensors").write_bytes(b"PK\x03\x04" * 99), "under the name of"),
    "truncated": (_cut, "truncated or damaged"),
    "body incomplete": (_weights(lambda w: {k: v for k, v in w.items() if ".layer.1." not in k}), "would be random"),
    "body of another width": (_config(hidden_size=64), "would be random"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
    "vocabulary too small": (
        _weights(lambda w: {k: v[:50] if "word_embeddings" in k else v for k, v in w.items()}), "would be random"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(plain: Path, fault: str) -> None:
    """Every broken checkpoint gives one readable message with the folder in it, and never random weights."""
    change, message = FAULTS[fault]
    change(plain)
    with pytest.raises(InputError, match=message) as caught:
        load_model(str(plain), CLASSIFY)
    assert str(plain) in str(caught.value)


def test_a_tokenizer_of_another_model(plain: Path) -> None:
    """Ids past the embedding are an index error in the middle of training."""
    tiny.word_piece(400).save_pretrained(plain)
    bigger = tiny.byte_pairs(500)
    bigger.save_pretrained(plain)
    with pytest.raises(InputError, match="they do not belong together"):
        load_model(str(plain), CLASSIFY)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("./nowhere", "no such folder"),
        ("/nowhere/at/all", "no such folder"),
        ("", "came an empty text"),
        ("bert-base-nonesuch", "the hub does not give it"),
        ("owner/name", "the hub does not give it"),
        ("not a name!", "the hub does not give it"),
    ],
)
def test_sources_that_are_not_there(source: str, message: str) -> None:
    """Offline, a misspelt path and an uncached hub name must both end at once with what to do."""
    with pytest.raises(InputError, match=message):
        load_model(source, CLASSIFY, revision="main")


def test_a_changed_artifact_is_refused(artifact: Path, tmp_path: Path) -> None:
    """A flipped bit loads silently in safetensors itself."""
    folder = tmp_path / "copy"
    shutil.copytree(artifact, folder)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-9] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="SHA-256"):
        load_model(str(folder), CLASSIFY)


def test_where_weights_lie_in_memory_does_not_matter(tmp_path: Path) -> None:
    """Off a cache line a product with one row is rounded differently: a good student would be refused by chance."""
    tokenizer = tiny.word_piece()
    model = tiny.model_of("bert", "classify", tokenizer, ["a", "b"])
    for value in model.parameters():
        space = torch.zeros(value.numel() + 1)
        space[1:] = value.detach().reshape(-1)
        value.data = space[1:].view(value.shape)
    save_student(
        model, tokenizer, tmp_path, task=tiny.TASKS["classify"], labels=["a", "b"], max_length=24,
        golden_rows=[{"text": "a"}],
    )  # fmt: skip


def test_loading_is_quiet(plain: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """transformers prints a table for every new head."""
    load_model(str(plain), CLASSIFY, labels=["x", "y"], fresh_head=True)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
