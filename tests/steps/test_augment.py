"""The augment step: what it writes, and what it refuses."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from compress.core.artifact import ArtifactWriter, read_manifest
from compress.core.errors import InputError
from compress.corpora.checks import text_key
from compress.corpora.corpus import Corpus
from compress.steps import keep
from compress.steps.augment import Augment
from compress.steps.base import Context
from tests.steps.masked import masked_model
from tests.teachers.helpers import corpus_of, small_checkpoint, small_corpus, taught


def augmented(
    corpus: Path, folder: Path, *methods: Any, inputs: dict[str, Path] | None = None, seed: int = 7, **options: Any
) -> Path:
    """Run `augment` as a recipe does and write its artifact."""
    step = Augment.model_validate({"corpus": "$corpus", "methods": list(methods), **options})
    assert step.preflight() == []
    writer = ArtifactWriter(folder)
    context = Context("more", {"$corpus": corpus, **(inputs or {})}, writer.open(), folder.parent / "work", seed)
    step.run(context)
    return writer.commit({"kind": "Corpus", "key": "a", "about": context.about, "measured": context.measured})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, all four splits."""
    return small_corpus(tmp_path_factory.mktemp("augment") / "corpus")


def test_writes_a_corpus_with_more_unlabelled_rows(corpus: Path, tmp_path: Path) -> None:
    """Prevents labels for texts that nobody judged, lost or changed rows, and texts of dev or test among the new."""
    folder = augmented(corpus, tmp_path / "more", "ngrams", {"joined": {"whole": 0.3}}, copies=2)
    before, after = Corpus.open(corpus), Corpus.open(folder)
    for split in ("train", "dev", "test"):
        assert after.texts(split) == before.texts(split)
    assert (after.task, after.labels) == (before.task, before.labels)
    rows = after.texts("unlabeled")
    assert rows[:64] == before.texts("unlabeled") and len(rows) == after.rows["unlabeled"] > 400
    new = [text_key(row) for row in rows[64:]]
    old = {text_key(row) for split in before.rows for row in before.texts(split)}
    assert len(set(new)) == len(new) and not old & set(new)
    assert set(rows[-1]) == {"text"}
    counted = read_manifest(folder)["measured"]["augmented"]
    assert counted["ngrams"]["made"] <= 480 and counted["joined"]["made"] == 480
    assert sum(counts["kept"] for counts in counted.values()) == len(new)
    examples = read_manifest(folder)["about"]["augmented"]["examples"]["joined"]
    assert len(examples) == 5 and set(examples[0]) == {"from", "to"}


def test_the_same_seed_gives_the_same_rows(corpus: Path, tmp_path: Path) -> None:
    """Prevents an artifact that its key does not decide."""
    one, two, other = (
        Corpus.open(augmented(corpus, tmp_path / name, "ngrams", "ngrams", seed=seed)).texts("unlabeled")
        for name, seed in (("one", 3), ("two", 3), ("other", 4))
    )
    assert one == two and one != other


def test_the_tokenizers_mask_token_is_used(corpus: Path, tmp_path: Path) -> None:
    """Prevents the mask token of another tokenizer, which would be read as letters and brackets."""
    body = small_checkpoint(tmp_path / "body", family="roberta")
    method = {"ngrams": {"p_mask": 0.5, "masked": "token", "tokenizer": "$teacher"}}
    folder = augmented(corpus, tmp_path / "more", method, inputs={"$teacher": body})
    texts = [row["text"] for row in Corpus.open(folder).texts("unlabeled")]
    assert sum("<mask>" in text for text in texts) > 100 and not any("[MASK]" in text for text in texts)


def test_nothing_generated_is_an_error(tmp_path: Path) -> None:
    """Prevents an empty augmentation that passes for one."""
    rows = [{"text": word, "label": n % 2} for n, word in enumerate(("one", "two", "six"))]
    task = {"classify": {"text": "text", "text_pair": None, "label": "label"}}
    alone = corpus_of(tmp_path / "words", {"train": rows, "dev": rows}, task, ["a", "b"])
    with pytest.raises(InputError, match=r"ngrams generated nothing: of \d+ texts"):
        augmented(alone, tmp_path / "more", {"ngrams": {"p_mask": 0.0, "p_swap": 0.5}})
    with pytest.raises(InputError, match="it could change no text"):
        augmented(alone, tmp_path / "more", {"ngrams": {"p_mask": 1.0, "p_swap": 0.0}})


def test_a_mask_corpus_is_refused(tmp_path: Path) -> None:
    """Prevents a student that learns to write what was made up."""
    rows = [{"text": "some words here"}]
    plain = corpus_of(tmp_path / "plain", {"train": rows, "dev": rows}, {"mask": {"text": "text"}}, [])
    with pytest.raises(InputError, match="its text is its own label"):
        augmented(plain, tmp_path / "more", "ngrams")


def test_options_that_cannot_work() -> None:
    """Prevents a step without a method, or of no copies."""
    for options in ({"methods": []}, {"methods": ["ngrams"], "copies": 0}, {"methods": ["ngrams"], "pair": "all"}):
        with pytest.raises(ValidationError):
            Augment.model_validate({"corpus": "$corpus", **options})


def test_a_model_that_is_not_there_is_a_fault_before_anything_runs(tmp_path: Path) -> None:
    """Prevents an hour of training before a mistyped path is seen."""
    method = {"ngrams": {"masked": "token", "tokenizer": str(tmp_path / "absent")}}
    (fault,) = Augment.model_validate({"corpus": "$corpus", "methods": ["joined", method]}).preflight()
    assert fault.path == "methods[1].ngrams" and "no such folder" in fault.message


def test_words_are_replaced_by_a_models_proposals(corpus: Path, tmp_path: Path) -> None:
    """Prevents a method that works alone and not in the step: one by a masked-LM head, one by embeddings alone."""
    model, body = masked_model(tmp_path / "mlm", "bert"), small_checkpoint(tmp_path / "body", labels=["bad", "good"])
    known = {word for row in Corpus.open(corpus).texts("train") for word in row["text"].split()}
    for name, source in (("replace", model), ("neighbours", body)):
        methods = [{name: {"model": "$m", "candidates": 3, "kept": ["the"]}}]
        folder = augmented(corpus, tmp_path / name, *methods, inputs={"$m": source}, copies=1)
        rows = Corpus.open(folder).texts("unlabeled")[64:]
        assert len(rows) > 150 and all(len(row["text"].split()) == 6 for row in rows)
        assert {word for row in rows for word in row["text"].split()} <= known | set(vocabulary(source))
    with pytest.raises(InputError, match="no trained masked-LM head"):
        augmented(corpus, tmp_path / "none", {"replace": {"model": "$m"}}, inputs={"$m": body})


def vocabulary(folder: Path) -> list[str]:
    """The tokens of a model."""
    return list(AutoTokenizer.from_pretrained(folder).get_vocab())


@pytest.fixture(scope="module")
def teacher(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that is sure of some texts and not of others: a random one with its logits stretched and centred."""
    torch.manual_seed(1)
    folder = small_checkpoint(tmp_path_factory.mktemp("teacher") / "teacher", labels=["bad", "good"])
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    texts = [row["text"] for row in Corpus.open(corpus).texts("train")]
    with torch.inference_mode():
        logits = model(**AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")).logits
    with torch.no_grad():
        stretch = 2 / (logits[:, 1] - logits[:, 0]).std()
        model.classifier.weight.mul_(stretch)
        model.classifier.bias.mul_(stretch).sub_(stretch * logits.mean(0))
    model.save_pretrained(folder)
    return folder


CUT = {"ngrams": {"p_mask": 0.4, "p_swap": 0.0}}


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts of a random model differ by less than bf16 can tell."""
    monkeypatch.setattr(keep, "resolve_precision", lambda precision, device: "fp32")


def said(teacher: Path, texts: list[str]) -> torch.Tensor:
    """The teacher's probabilities `[n, 2]`, asked for in the plain way."""
    model = AutoModelForSequenceClassification.from_pretrained(teacher).eval()
    encoded = AutoTokenizer.from_pretrained(teacher)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return model(**encoded).logits.softmax(-1)


@pytest.mark.usefixtures("in_float32")
def test_a_teacher_filters_and_the_rest_is_split_in_two(corpus: Path, teacher: Path, tmp_path: Path) -> None:
    """Prevents a filter that keeps the wrong side, or that nothing reads: sure and unsure texts make up all."""
    texts: dict[str, list[str]] = {}
    edge = 0.0
    for name in ("all", "sure", "unsure"):
        bounds = {"sure": {"above": edge}, "unsure": {"between": [0.0, math.nextafter(edge, 0.0)]}}.get(name)
        given: dict[str, Any] = {} if bounds is None else {"keep": {"teacher": "$t", **bounds}}
        folder = augmented(corpus, tmp_path / name, CUT, inputs={"$t": teacher}, **given)
        texts[name] = [row["text"] for row in Corpus.open(folder).texts("unlabeled")[64:]]
        counts = read_manifest(folder)["measured"]["augmented"]["ngrams"]
        fates = sum(counts[fate] for fate in ("kept", "known", "repeated", "held_out", "unsure"))
        assert counts["kept"] == len(texts[name]) and fates == counts["made"]
        edge = edge or float(said(teacher, texts["all"]).max(-1).values.median())
    assert texts["sure"] and texts["unsure"]
    assert sorted(texts["sure"] + texts["unsure"]) == sorted(texts["all"])
    assert said(teacher, texts["sure"]).max(-1).values.min() > edge - 1e-4
    assert said(teacher, texts["unsure"]).max(-1).values.max() < edge + 1e-4


@pytest.mark.usefixtures("in_float32")
def test_the_teachers_labels_join_train(corpus: Path, teacher: Path, tmp_path: Path) -> None:
    """Prevents labels that are not the teacher's, and labelled rows among the unlabelled ones."""
    given = {"teacher": "$t", "above": 0.55, "labels": True}
    after = Corpus.open(augmented(corpus, tmp_path / "more", CUT, inputs={"$t": teacher}, keep=given))
    assert after.rows["unlabeled"] == 64 and after.texts("train")[:240] == Corpus.open(corpus).texts("train")
    new = after.texts("train")[240:]
    labels = said(teacher, [row["text"] for row in new]).argmax(-1).tolist()
    assert set(labels) == {0, 1} and [row["label"] for row in new] == labels


def test_filters_that_cannot_work(corpus: Path, teacher: Path, tmp_path: Path) -> None:
    """Prevents a filter of a body without a head, one that drops everything, and options against each other."""
    body = small_checkpoint(tmp_path / "body")
    with pytest.raises(InputError, match="no trained head"):
        augmented(corpus, tmp_path / "one", CUT, inputs={"$t": body}, keep={"teacher": "$t", "above": 0.5})
    given = {"teacher": "$t", "between": [0.0, 0.4]}
    with pytest.raises(InputError, match=r"gives none a probability from 0 to 0\.4"):
        augmented(corpus, tmp_path / "two", CUT, inputs={"$t": teacher}, keep=given)
    for options, message in (
        ({}, "expected `above:`, `between:` or `labels: true`"),
        ({"above": 0.5, "between": [0.1, 0.2]}, "came both"),
        ({"between": [0.6, 0.2]}, r"came \[0.6, 0.2\]"),
        ({"above": 1.5}, "less than or equal to 1"),
    ):
        with pytest.raises(ValidationError, match=message):
            Augment.model_validate({"corpus": "$c", "methods": ["ngrams"], "keep": {"teacher": "$t", **options}})


def test_scores_and_tags_by_the_teacher(tmp_path: Path) -> None:
    """Prevents a task whose rows the filter cannot read: one number a row, one tag a word."""
    draw = random.Random(1)
    words = ["soup", "room", "film", "walk", "song"]
    pairs = [{"text": " ".join(draw.choices(words, k=4)), "text_pair": "a film", "score": 1.0 * n} for n in range(24)]
    scores = corpus_of(
        tmp_path / "scores", {"train": pairs, "dev": pairs[:4]}, {"regress": {"text_pair": "text_pair"}}, []
    )
    body = small_checkpoint(tmp_path / "body")
    one = taught(str(body), scores, tmp_path / "one", epochs=1)
    more = augmented(scores, tmp_path / "s", "ngrams", inputs={"$t": one}, keep={"teacher": "$t", "labels": True})
    rows = Corpus.open(more).texts("train")
    assert len(rows) > 40 and all(isinstance(row["score"], float) for row in rows)
    with pytest.raises(InputError, match="gives no probability"):
        augmented(scores, tmp_path / "x", "ngrams", inputs={"$t": one}, keep={"teacher": "$t", "above": 0.5})
    tagged = [{"tokens": row["text"].split(), "tags": [int(w == "film") for w in row["text"].split()]} for row in pairs]
    tags = corpus_of(tmp_path / "tags", {"train": tagged, "dev": tagged[:4]}, {"tag": {}}, ["O", "B-F"])
    two = taught(str(body), tags, tmp_path / "two", epochs=8)
    given = {"teacher": "$t", "above": 0.5, "labels": True}
    new = Corpus.open(augmented(tags, tmp_path / "t", "joined", inputs={"$t": two}, keep=given)).texts("train")[24:]
    assert new and all(len(row["tags"]) == len(row["tokens"]) <= 14 for row in new)
