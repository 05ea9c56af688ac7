"""Students for label sets, answers and embeddings: equal to transformers, and to how the task itself reads outputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from compress.core.errors import InputError
from compress.runtime.prediction import Found, Labels, Similarity, Vector
from compress.runtime.student import Student
from compress.tasks.features import collator, encode_rows
from compress.train.evaluate import collect
from tests.runtime import tiny
from tests.tasks.tools import task as task_of

Folder = Callable[[str, str], Path]
LONG = " ".join(tiny.TEXTS)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("task", ["multilabel", "answer", "embed"])
def test_every_family_loads_and_verifies(student: Folder, family: str, task: str) -> None:
    """A saved folder that the runtime reads otherwise than transformers would answer wrongly."""
    loaded = Student.load(student(family, task), threads=1)
    checked = loaded.verify()
    assert checked.inputs == len(tiny.ROWS[task]) and checked.difference < 1e-5
    assert loaded.info["engine"] == "torch" and loaded.task == task
    assert loaded.labels == tiny.LABELS.get(task, [])


def test_label_sets_are_sigmoids(student: Folder) -> None:
    """A softmax over labels that do not exclude each other says at most one of them."""
    loaded = Student.load(student("bert", "multilabel"), threads=1)
    for prediction, logits in loaded.answers(tiny.TEXTS, batch_size=2):
        assert isinstance(prediction, Labels)
        expected = 1 / (1 + np.exp(-logits.astype(float)))
        assert list(prediction.scores.values()) == pytest.approx(expected.tolist())
        assert set(prediction.labels) == {n for n, p in prediction.scores.items() if p > 0.5}
        assert list(prediction.labels) == sorted(prediction.labels, key=lambda name: -prediction.scores[name])


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_answers_are_those_that_the_task_scores(student: Folder, family: str) -> None:
    """Windows, offsets and spans are made twice, with torch and without; a difference would be scored as quality."""
    folder = student(family, "answer")
    loaded = Student.load(folder, threads=1)
    rows = [{"question": "was it good?", "context": f"{text} {LONG}"} for text in tiny.TEXTS]
    found = loaded.predict(rows, batch_size=3)
    one = task_of("answer", longest=8)
    answers = [{"text": "The", "answer_start": row["context"].index("The")} for row in rows]
    gold = [{**row, "answers": [answer]} for row, answer in zip(rows, answers, strict=True)]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder)
    made = encode_rows(one, tokenizer, gold, 24)
    assert len(made) > 2 * len(rows)
    outputs, _ = collect(
        model, made, collator(one, tokenizer.pad_token_id), one.flatten, read=one.read, by_row=one.by_row
    )
    for row, prediction, (_, _, start, end) in zip(rows, found, outputs, strict=True):
        assert isinstance(prediction, Found)
        assert (prediction.start, prediction.end) == (start, end)
        assert prediction.text == row["context"][prediction.start : prediction.end] and 0 < prediction.score <= 1
    pairs = [(row["question"], row["context"]) for row in rows]
    assert [answer.text for answer in loaded.predict(pairs)] == [answer.text for answer in found]  # type: ignore


def test_wrong_questions_are_named(student: Folder) -> None:
    """The tokenizers library stops with a bare exception on a question that fills the whole input."""
    loaded = Student.load(student("bert", "answer"), threads=1)
    good = {"question": "was it good?", "context": LONG}
    with pytest.raises(InputError, match=r"input 1: the question has .* tokens, and may have"):
        loaded.predict([good, {**good, "question": "was it good? " * 9}])
    assert isinstance(loaded.predict([good])[0], Found)
    for bad, words in (
        ("a text", "input 0: expected a pair"),
        ({"question": "a"}, "came keys question"),
        ({**good, "context": " "}, "the context is empty"),
    ):
        with pytest.raises(InputError, match=words):
            loaded.predict([bad])


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_embeddings_equal_pooled_hidden_states(student: Folder, family: str) -> None:
    """An app that embeds must get the vectors that the student was trained to give."""
    folder = student(family, "embed")
    loaded = Student.load(folder, threads=1)
    found = loaded.embed(tiny.TEXTS, batch_size=2)
    assert found.dtype == np.float32 and found.shape == (len(tiny.TEXTS), 32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder)
    batch = tokenizer(tiny.TEXTS, truncation=True, max_length=24, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden, mask = model(**batch).last_hidden_state, batch["attention_mask"].unsqueeze(-1)
    expected = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    one, pair = loaded.predict([tiny.TEXTS[0], (tiny.TEXTS[0], tiny.TEXTS[1])])
    assert isinstance(one, Vector) and one.vector == pytest.approx(found[0].tolist(), abs=1e-6)
    assert isinstance(pair, Similarity) and pair.similarity == pytest.approx(float(found[0] @ found[1]), abs=1e-5)
    with pytest.raises(InputError, match="input 1: expected one text to embed, came a pair"):
        loaded.embed(["a", ("a", "b")])


def test_sentence_transformers_files_say_the_same(student: Folder, tmp_path: Path) -> None:
    """The folder opens elsewhere by these files, and here too when the manifest is gone."""
    folder = tmp_path / "plain"
    shutil.copytree(student("bert", "embed"), folder)
    expected = Student.load(folder, threads=1).embed(tiny.TEXTS)
    (folder / "manifest.json").unlink()
    modules = [module["type"].rpartition(".")[2] for module in json.loads((folder / "modules.json").read_text())]
    assert modules == ["Transformer", "Pooling", "Normalize"]
    assert np.array_equal(Student.load(folder, threads=1).embed(tiny.TEXTS), expected)
    pooling = folder / "1_Pooling" / "config.json"
    held = json.loads(pooling.read_text())
    assert held["word_embedding_dimension"] == 32
    pooling.write_text(json.dumps({**held, "pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}))
    with pytest.raises(InputError, match="pools by lasttoken, which is not known"):
        Student.load(folder)


def test_folders_of_newer_sentence_transformers(student: Folder, tmp_path: Path) -> None:
    """Published encoders name their pooling in one word, a shorter input than their positions, and an old head."""
    folder = tmp_path / "plain"
    shutil.copytree(student("bert", "embed"), folder)
    expected = Student.load(folder, threads=1).embed(tiny.TEXTS)
    (folder / "manifest.json").unlink()
    (folder / "1_Pooling" / "config.json").write_text('{"embedding_dimension": 32, "pooling_mode": "mean"}')
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
    assert np.array_equal(Student.load(folder, threads=1).embed(tiny.TEXTS), expected)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    assert Student.load(folder, threads=1).max_length == 9


def test_embeddings_need_no_pooler(student: Folder, tmp_path: Path) -> None:
    """Published sentence encoders often come without the pooler, which no embedding reads; a layer must not lack."""
    folder = tmp_path / "plain"
    shutil.copytree(student("bert", "embed"), folder)
    expected = Student.load(folder, threads=1).embed(tiny.TEXTS)
    (folder / "manifest.json").unlink()
    weights = load_file(folder / "model.safetensors")
    for lacking, fails in (("pooler.", False), ("encoder.layer.1.", True)):
        kept = {name: value for name, value in weights.items() if not name.startswith(lacking)}
        assert len(kept) < len(weights)
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        if fails:
            with pytest.raises(InputError, match="lacks weights that the model needs"):
                Student.load(folder, threads=1)
        else:
            np.testing.assert_allclose(Student.load(folder, threads=1).embed(tiny.TEXTS), expected, atol=1e-6)


def test_plain_folders_tell_their_task(student: Folder, tmp_path: Path) -> None:
    """Without a manifest the head of config.json decides; a label set read by softmax would be wrong."""
    for task in ("multilabel", "answer"):
        folder = tmp_path / task
        shutil.copytree(student("bert", task), folder)
        (folder / "manifest.json").unlink()
        assert Student.load(folder, threads=1).task == task
