"""Student: equal to transformers, in order, checked, and clear about bad folders and inputs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from compress.core.artifact import ArtifactWriter
from compress.core.errors import InputError
from compress.runtime.engines import base
from compress.runtime.prediction import Blanks, Label, Tags, Value
from compress.runtime.student import Student
from tests.runtime import tiny

Folder = Callable[[str, str], Path]


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("task", ["classify", "pairs", "regress", "tag", "mask"])
def test_every_family_and_task_loads_and_verifies(student: Folder, family: str, task: str) -> None:
    """A family or a task whose saved folder the runtime reads otherwise than transformers would answer wrongly."""
    loaded = Student.load(student(family, task), threads=1)
    checked = loaded.verify()
    assert checked.inputs == len(tiny.TEXTS)
    assert checked.difference < 1e-5
    assert loaded.info["engine"] == "torch"
    assert loaded.labels == tiny.LABELS.get(task, [])


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_logits_equal_transformers_in_a_padded_batch(student: Folder, family: str) -> None:
    """Sorting by length, padding and truncation must not change any answer or its place."""
    folder = student(family, "pairs")
    rows = [(a * 3, b) for a, b in zip(tiny.TEXTS, reversed(tiny.TEXTS), strict=True)]
    found = Student.load(folder, threads=1).logits(rows, batch_size=2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    first, second = zip(*rows, strict=True)
    batch = tokenizer(list(first), list(second), truncation=True, max_length=24, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**batch).logits.numpy()
    np.testing.assert_allclose(np.stack(found), expected, atol=1e-5)


def test_pipeline_gives_the_same_scores(student: Folder) -> None:
    """The float student must open in a plain pipeline, or `stock folder` is not true."""
    folder = student("distilbert", "classify")
    texts = [text for text in tiny.TEXTS if len(text) < 40]
    stock = transformers.pipeline("text-classification", str(folder))
    for text, prediction in zip(texts, Student.load(folder, threads=1).predict(texts), strict=True):
        (said,) = stock([text], top_k=1)[0]
        assert isinstance(prediction, Label)
        assert said["label"] == prediction.label
        assert said["score"] == pytest.approx(prediction.score, abs=1e-5)


def test_predict_keeps_the_order_and_takes_every_form(student: Folder) -> None:
    """Batches are sorted by length inside; an answer in the wrong place would be silent."""
    loaded = Student.load(str(student("bert", "classify")), threads=1)
    together = loaded.predict(tiny.TEXTS, batch_size=2)
    alone = [loaded.predict([text])[0] for text in tiny.TEXTS]
    rows = loaded.predict([{"text": text} for text in tiny.TEXTS])
    for one, two, three in zip(together, alone, rows, strict=True):
        assert isinstance(one, Label) and isinstance(two, Label) and isinstance(three, Label)
        assert one.label == two.label == three.label == max(one.scores, key=lambda name: one.scores[name])
        assert one.score == pytest.approx(two.score, abs=1e-5)
        assert sum(one.scores.values()) == pytest.approx(1.0)
    assert loaded.predict([]) == []
    assert loaded.logits([]) == []
    assert loaded.embed([]).shape == (0, 0)


def test_regress_gives_a_number(student: Folder) -> None:
    """A softmax over one output is always 1."""
    values = Student.load(student("bert", "regress"), threads=1).predict(tiny.TEXTS)
    assert all(isinstance(value, Value) for value in values)
    assert len({value.value for value in values if isinstance(value, Value)}) == len(tiny.TEXTS)


def test_tags_fit_words_and_characters(student: Folder) -> None:
    """Sub-tokens, cut words and text offsets are three ways to be off by one."""
    loaded = Student.load(student("roberta", "tag"), threads=1)
    text = "She said   that plots work"
    whole, split = loaded.predict([text, text.split()])
    assert isinstance(whole, Tags) and isinstance(split, Tags)
    assert whole.labels == split.labels
    assert None not in whole.labels
    for span in whole.spans:
        assert span.start is not None and span.end is not None
        assert text[span.start : span.end].split() == span.text.split() == list(whole.words[slice(*span.words)])
    assert all(span.start is None for span in split.spans)
    (blank,) = loaded.predict([["plots", " ", "work"]])
    assert isinstance(blank, Tags) and [tag is None for tag in blank.labels] == [False, False, False]
    (long,) = loaded.predict([["plot"] * 60])
    assert isinstance(long, Tags)
    assert len(long.labels) == 60 and long.labels[-1] is None and long.labels[0] is not None


def test_mask_fills_every_blank(student: Folder) -> None:
    """A text without a blank has nothing to be asked; one with two has two answers."""
    loaded = Student.load(student("bert", "mask"), threads=1)
    (filled,) = loaded.predict(["a [MASK] end and a [MASK]"], top=3)
    assert isinstance(filled, Blanks)
    assert [len(tokens) for tokens in filled.tokens] == [3, 3]
    with pytest.raises(InputError, match=r"input 1: has no \[MASK\]"):
        loaded.predict(["a [MASK]", "none"])


def test_embed_is_the_mean_over_real_tokens(student: Folder) -> None:
    """Padding counted into the mean would make an embedding depend on its neighbours."""
    loaded = Student.load(student("bert", "classify"), threads=1)
    together = loaded.embed(tiny.TEXTS)
    assert together.dtype == np.float32 and together.shape == (len(tiny.TEXTS), 32)
    for row, text in zip(together, tiny.TEXTS, strict=True):
        np.testing.assert_allclose(loaded.embed([text])[0], row, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("a text", "expected a list of inputs"),
        (7, "expected a list of inputs"),
        ([float("nan")], "input 0: .*came float nan"),
        (["fine", None], "input 1: .*came NoneType"),
        (["fine", "  "], "input 1: the text is empty"),
        (["fine", "\ud800"], "input 1: the text is not valid Unicode"),
        ([("a", "b")], "input 0: expected one text, came a pair"),
        ([{"sentence": "a"}], "input 0: .*came keys sentence"),
        ([["a", "b", "c"]], "input 0: expected a text"),
        ([b"bytes"], "input 0: expected a text"),
    ],
)
def test_bad_input_is_named(student: Folder, values: Any, message: str) -> None:
    """A NaN from a table, or an empty text, must not become a confident answer."""
    with pytest.raises(InputError, match=message):
        Student.load(student("bert", "classify"), threads=1).predict(values)


def test_pairs_want_pairs(student: Folder) -> None:
    """A pair student that is given one text answers with confidence and without sense."""
    with pytest.raises(InputError, match="expected a pair"):
        Student.load(student("bert", "pairs"), threads=1).predict(["alone"])
    with pytest.raises(InputError, match="list of words is empty"):
        Student.load(student("bert", "tag"), threads=1).predict([[]])


def _flip(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 4
    path.write_bytes(data)


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


DAMAGE: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "flipped": (_flip, "SHA-256", ""),
    "truncated": (_truncate, "truncated", "bytes where its header says"),
    "pickle": (_pickle, "a pickle where weights should be", "a pickle where weights should be"),
    "disguised": (
        lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04pickle" * 40), "manifest says", "a pickle where"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json: missing", "has no config.json"),
    "bad config": (lambda f: (f / "config.json").write_text("{"), "config.json", "config.json: damaged"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json: missing", "has no tokenizer.json"),
    "bad tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json", "not a tokenizer"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "missing", "has neither"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("plain", [False, True], ids=["artifact", "plain"])
def test_damaged_folders_are_refused(student: Folder, tmp_path: Path, damage: str, plain: bool) -> None:
    """A damaged or pickled folder must give one readable message, never a wrong answer or a traceback."""
    folder = tmp_path / "student"
    shutil.copytree(student("bert", "classify"), folder)
    change, message, message_plain = DAMAGE[damage]
    if plain:
        (folder / "manifest.json").unlink()
        message = message_plain
    change(folder)
    if not message:
        return
    with pytest.raises(InputError, match=message):
        Student.load(folder)


def test_places_that_are_no_student(tmp_path: Path, student: Folder) -> None:
    """A misspelt path must not be looked up on a hub, and a corpus is no student."""
    with pytest.raises(InputError, match="no such folder"):
        Student.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="came a file"):
        Student.load(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no config\.json"):
        Student.load(tmp_path / "empty")
    corpus = ArtifactWriter(tmp_path / "corpus")
    corpus.open()
    with pytest.raises(InputError, match="expected a Model, came a Corpus"):
        Student.load(corpus.commit({"kind": "Corpus"}))
    for threads in (0, -1, True, 1.5):
        with pytest.raises(InputError, match="threads"):
            Student.load(student("bert", "classify"), threads=threads)  # type: ignore[arg-type]


def test_engines_are_chosen_and_missing_ones_told(student: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install` what? The message must say the line."""
    folder = student("bert", "classify")
    with pytest.raises(InputError, match='did you mean "torch"'):
        Student.load(folder, engine="troch")
    with pytest.raises(InputError, match="has no form for the engine onnx"):
        Student.load(folder, engine="onnx")
    carried: dict[str, Any] = {"torch": {}, "onnx": {}}
    assert base.choose("auto", carried, folder) == "onnx"
    monkeypatch.setattr(base.importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else object())
    assert base.choose("auto", carried, folder) == "torch"
    with pytest.raises(InputError, match="run: pip install onnxruntime"):
        base.choose("onnx", carried, folder)


def test_verify_sees_other_outputs(student: Folder, tmp_path: Path) -> None:
    """Golden outputs that are never compared prove nothing."""
    folder = tmp_path / "student"
    shutil.copytree(student("bert", "classify"), folder)
    loaded = Student.load(folder, threads=1)
    with torch.no_grad():
        loaded.engine.model.classifier.bias += 1  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="output 0 is off by 1"):
        loaded.verify()
    (folder / "extra.txt").write_text("x")
    with pytest.raises(InputError, match="not listed"):
        loaded.verify()


def test_plain_folder_without_manifest(student: Folder, tmp_path: Path) -> None:
    """Any fine-tuned Hugging Face folder is a subject of a benchmark; its task and labels stand in config.json."""
    for family, task in (("bert", "classify"), ("roberta", "regress"), ("bert", "tag"), ("roberta", "mask")):
        source, plain = student(family, task), tmp_path / task
        shutil.copytree(source, plain)
        (plain / "manifest.json").unlink()
        loaded = Student.load(plain, threads=1)
        assert loaded.task == task and loaded.labels == tiny.LABELS.get(task, [])
        assert loaded.info["parameters"] > 0
        one, two = loaded.logits([tiny.TEXTS[0]]), Student.load(source, threads=1).logits([tiny.TEXTS[0]])
        np.testing.assert_allclose(one[0], two[0], atol=1e-6)
        with pytest.raises(InputError, match="not an artifact"):
            loaded.verify()
