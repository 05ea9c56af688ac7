"""The distill step on models small enough for a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from compress.core.artifact import ArtifactWriter, verify
from compress.core.errors import InputError, JobError
from compress.corpora.corpus import Corpus
from compress.steps.base import Context
from compress.steps.distill import Distill
from compress.tasks.features import encode_rows
from compress.train.checkpoint import CheckpointWriter
from compress.train.used_rows import used_rows
from tests.teachers.helpers import Ears, corpus_of, sentences, small_checkpoint, small_corpus, taught

QUICK: dict[str, Any] = {"epochs": 2, "learning_rate": 5e-3, "batch_size": 16, "precision": "fp32"}
TINY = {"tinybert": {"layers": 1, "width": 16, "heads": 2, "ffn": 32, "dropout": 0.0}}

KEEN = {"tinybert": {"layers": 1, "width": 32, "heads": 2, "ffn": 64, "dropout": 0.0, "init": "truncated"}}


@pytest.fixture(scope="module")
def taught_teacher(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus and a teacher that knows it."""
    folder = tmp_path_factory.mktemp("distill")
    corpus = small_corpus(folder / "corpus")
    body = small_checkpoint(folder / "body")
    return corpus, taught(str(body), corpus, folder / "teacher")


def distilled(corpus: Path, teacher: Path, folder: Path, reporter: Ears | None = None, **options: Any) -> Path:
    """Run `distill` as a recipe does and write its artifact."""
    given = {"student": TINY, "losses": ["logits_kl"], **QUICK, **options}
    named = {} if "teachers" in options else {"teacher": "$teacher"}
    step = Distill.model_validate({"corpus": "$corpus", **named, **given})
    writer = ArtifactWriter(folder)
    inputs = {"$corpus": corpus, "$teacher": teacher}
    if isinstance(options.get("start"), str):
        inputs[options["start"]] = folder.parent / options["start"].removeprefix("$")
    context = Context("student", inputs, writer.open(), folder.parent / f"{folder.name}-work", 7, reporter or Ears())
    step.run(context)
    return writer.commit({"kind": "Model", "key": "s", "about": context.about, "measured": context.measured})


def test_writes_a_stock_student_that_learnt(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a student that only we can open, or that learnt nothing, or whose record lacks the teacher."""
    losses = ["logits_kl", {"hidden_mse": {"map": "last"}}, {"attention_mse": {"map": "last"}}, "hard_ce"]
    folder = distilled(*taught_teacher, tmp_path / "student", losses=losses, student=KEEN, epochs=4)
    manifest = verify(folder, "Model")
    measured = manifest["measured"]
    assert measured["dev"]["accuracy"] > 0.9 and measured["retained"] > 0.9
    assert set(measured["first_batch"]) == {"logits_kl", "hidden_mse", "attention_mse", "hard_ce"}
    assert measured["teacher"]["dev"]["accuracy"] > measured["chance"]
    assert set(manifest["about"]["labels"]) == {"bad", "good"}
    AutoModelForSequenceClassification.from_pretrained(folder)
    assert pipeline("text-classification", model=str(folder))("the film was lovely")[0]["label"] in ("bad", "good")


def test_half_of_the_teacher_and_the_same_without_a_teacher(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a comparison of two different students: same shape and start, labels instead of a teacher."""
    students = {}
    for name, losses in (("half", ["logits_mse"]), ("alone", ["hard_ce"])):
        folder = distilled(*taught_teacher, tmp_path / name, student="distilbert", losses=losses)
        students[name] = json.loads((folder / "manifest.json").read_text())
    assert students["half"]["about"]["family"] == "distilbert"
    assert students["half"]["about"]["inherited"] == students["alone"]["about"]["inherited"]
    assert students["half"]["about"]["inherited"]["layers"] == {"1": 2}
    assert students["half"]["about"]["uses_teacher"] and not students["alone"]["about"]["uses_teacher"]


def test_dev_is_tokenized_once(
    taught_teacher: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents every evaluation from paying for tokens that are known: one for the teacher's score, one for all."""
    sizes: list[int] = []

    def counted(task: Any, tokenizer: Any, rows: Any, max_length: int) -> Any:
        sizes.append(len(rows))
        return encode_rows(task, tokenizer, rows, max_length)

    monkeypatch.setattr("compress.distill.distillation.encode_rows", counted)
    folder = distilled(*taught_teacher, tmp_path / "student", epochs=1, evaluate_per_epoch=4, unlabeled="ignore")
    assert len([point for point in verify(folder)["measured"]["history"] if point["dev"]]) == 4
    assert sorted(sizes) == [64, 64, 64, 240]  # dev twice, test, train


def test_only_the_words_of_the_corpus_are_trained(
    taught_teacher: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents an optimizer over a whole vocabulary, and a word of the unlabelled rows that is left out of it."""
    seen: list[Any] = []

    def watched(module: Any, tokens: Any, *others: Any) -> Any:
        seen.append(tokens)
        return used_rows(module, tokens, *others)

    monkeypatch.setattr("compress.train.fit.used_rows", watched)
    corpus, teacher = taught_teacher
    folder = distilled(corpus, teacher, tmp_path / "student", epochs=1)
    told = AutoTokenizer.from_pretrained(folder)
    held = Corpus.open(corpus)
    texts = [row["text"] for split in ("train", "unlabeled") if held.has(split) for row in held.texts(split)]
    assert seen == [{token for ids in told(texts, truncation=True, max_length=16)["input_ids"] for token in ids}]


def test_two_stages(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a `start:` that is read and not used: the second stage begins where the first ended."""
    _, teacher = taught_teacher
    text = [{"text": row["text"]} for row in sentences(64, 9)]
    plain = corpus_of(tmp_path / "plain", {"train": text, "dev": text[:8]}, {"mask": {"text": "text"}}, [])
    losses = [{"hidden_mse": {"map": "last"}}]
    general = distilled(plain, teacher, tmp_path / "general", losses=losses)
    facts = verify(general)
    assert not facts["about"]["trained_head"] and "dev" not in facts["measured"]
    folder = distilled(*taught_teacher, tmp_path / "task", start="$general")
    assert verify(folder)["about"]["inherited"]["start"] == "$general"


def test_a_start_of_another_shape_is_refused(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a start that is silently dropped or half loaded."""
    distilled(*taught_teacher, tmp_path / "other")
    wide = {"tinybert": {"layers": 2, "width": 16, "heads": 2, "ffn": 32}}
    with pytest.raises(InputError, match="not of the student's shape"):
        distilled(*taught_teacher, tmp_path / "student", start="$other", student=wide)


def test_labels_in_another_order_are_refused(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents MNLI at 10 %: a teacher whose outputs mean the other label."""
    corpus = small_corpus(tmp_path / "turned", labels=("good", "bad"))
    with pytest.raises(InputError, match=r"labels: \['bad', 'good'\]"):
        distilled(corpus, taught_teacher[1], tmp_path / "student")


def test_an_untaught_teacher_is_refused(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents distilling from a teacher that was never fine-tuned, which others do with exit code 0."""
    body = small_checkpoint(tmp_path / "body")
    with pytest.raises(InputError, match="no trained head"):
        distilled(taught_teacher[0], body, tmp_path / "one")
    headed = small_checkpoint(tmp_path / "headed", labels=["bad", "good"])
    one_sided = sentences(64, 2)
    corpus = corpus_of(
        tmp_path / "corpus",
        {"train": sentences(64, 1), "dev": one_sided[1::2] + one_sided[:1]},
        {"classify": {"text": "text", "text_pair": None, "label": "label"}},
        ["bad", "good"],
    )
    with pytest.raises(InputError, match="nothing to distil"):
        distilled(corpus, headed, tmp_path / "two")


def test_other_tokens_are_refused(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a start whose embedding rows mean other tokens."""
    other = small_checkpoint(tmp_path / "other", family="roberta", labels=["bad", "good"])
    assert other.is_dir()
    with pytest.raises(InputError, match="vocabulary"):
        distilled(*taught_teacher, tmp_path / "student", start="$other", tokenizer={"wordpiece": {"size": 90}})


@pytest.mark.parametrize("by", ["activation", "taylor"])
def test_an_initialisation_sees_the_corpus(taught_teacher: tuple[Path, Path], tmp_path: Path, by: str) -> None:
    """Prevents an importance by texts that gets none in a recipe, or a taylor without the task's loss."""
    shape = {"width": 16, "heads": 1, "init": {"importance": {"by": by, "samples": 40}}}
    folder = distilled(*taught_teacher, tmp_path / "student", student={"bert": shape}, epochs=1)
    inherited = verify(folder)["about"]["inherited"]
    assert (inherited["importance"], inherited["samples"], inherited["random"]) == (by, 40, [])


def test_principal_directions_come_from_the_corpus(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents an svd that falls back to weights in a recipe, where texts are at hand."""
    shape = {"width": 16, "heads": 2, "init": {"svd": {"samples": 32}}}
    folder = distilled(*taught_teacher, tmp_path / "student", student={"bert": shape}, epochs=1)
    assert verify(folder)["about"]["inherited"]["directions"] == "hidden states of 32 texts"


def test_a_checkpoint_brings_its_own_tokens(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a ready student that reads the teacher's token ids as other words."""
    other = small_checkpoint(tmp_path / "other", family="roberta", labels=["bad", "good"])
    ready = {"checkpoint": {"name": str(other)}}
    losses = ["logits_kl", {"hidden_mse": {"map": "last"}}]
    folder = distilled(*taught_teacher, tmp_path / "student", student=ready, losses=losses, epochs=1)
    one, two = (json.loads((each / "tokenizer.json").read_text()) for each in (folder, other))
    assert one["model"] == two["model"] and verify(folder)["about"]["tokenizer"]["from"] == str(other)
    with pytest.raises(InputError, match="leave `tokenizer` out"):
        distilled(*taught_teacher, tmp_path / "no", student=ready, tokenizer={"byte_bpe": {"size": 300}})


def test_a_checkpoint_is_distilled_as_it_is(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a ready student that only opens: it learns, and its record says where it came from."""
    ready = small_checkpoint(tmp_path / "ready", labels=["good", "bad"])
    folder = distilled(*taught_teacher, tmp_path / "student", student={"checkpoint": {"name": str(ready)}})
    about = verify(folder)["about"]
    assert about["inherited"]["checkpoint"] == str(ready) and about["inherited"]["random"] == ["classifier"]
    assert about["labels"] == ["bad", "good"]


def test_relations_of_texts_survive_the_last_batch(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a loss between texts from ending the job when one text is left over at the end of an epoch."""
    losses = ["logits_kl", {"rkd_angle": {"of": "mean"}}, {"sample_relations": {"of": "mean"}}]
    folder = distilled(*taught_teacher, tmp_path / "student", losses=losses, batch_size=7, unlabeled="ignore")
    assert verify(folder)["measured"]["steps"] == 2 * (240 // 7)  # two rows are left over


@pytest.mark.parametrize("family", ["albert", "electra", "mpnet", "deberta-v2"])
def test_teachers_of_other_families(family: str, tmp_path: Path) -> None:
    """Prevents a family that can be read but not distilled: hidden states and relations always, attention if it can."""
    corpus = small_corpus(tmp_path / "corpus", train=48)
    body = small_checkpoint(tmp_path / "body", family)
    student = {"bert": {"width": 16, "heads": 2, "init": "random"}}
    losses: list[Any] = ["hard_ce", {"hidden_mse": {"map": "last"}}, "value_relation_kl"]
    folder = distilled(corpus, body, tmp_path / "student", student=student, losses=losses, epochs=1)
    assert verify(folder)["about"]["family"] == "bert"
    attention = [{"attention_mse": {"map": "last"}}]
    if family in ("mpnet", "deberta-v2"):
        with pytest.raises(InputError, match="attention cannot be compared"):
            distilled(corpus, body, tmp_path / "refused", student=student, losses=attention, epochs=1)
    else:
        distilled(corpus, body, tmp_path / "compared", student=student, losses=attention, epochs=1)


def test_unlabelled_rows_are_distilled_too(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents unlabelled rows that are read and not trained on, and labels that are missed where there are none."""
    corpus, teacher = taught_teacher
    auto = verify(distilled(corpus, teacher, tmp_path / "auto", losses=["logits_kl", "hard_ce"]))
    ignored = verify(distilled(corpus, teacher, tmp_path / "ignored", losses=["logits_kl"], unlabeled="ignore"))
    alone = verify(distilled(corpus, teacher, tmp_path / "alone", losses=["hard_ce"]))
    assert auto["about"]["trained_rows"] == {"train": 240, "unlabeled": 64}
    assert ignored["about"]["trained_rows"] == alone["about"]["trained_rows"] == {"train": 240}
    assert (auto["measured"]["steps"], ignored["measured"]["steps"]) == (2 * 19, 2 * 15)


def test_unlabelled_rows_alone_teach(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents unlabelled rows whose teacher logits never reach the loss: here they are all but two of the rows."""
    teacher = taught_teacher[1]
    few = corpus_of(
        tmp_path / "few",
        {
            "train": sentences(2, 1),
            "dev": sentences(64, 2),
            "unlabeled": [{"text": row["text"]} for row in sentences(240, 6)],
        },
        {"classify": {"text": "text", "text_pair": None, "label": "label"}},
        ["bad", "good"],
    )
    for losses in (["logits_kl"], ["logits_kl", {"hidden_mse": {"map": "last"}}]):
        folder = distilled(few, teacher, tmp_path / f"student{len(losses)}", losses=losses, student=KEEN, epochs=4)
        assert verify(folder)["measured"]["dev"]["accuracy"] > 0.9
    with pytest.raises(InputError, match="learns from labels only"):
        distilled(few, teacher, tmp_path / "none", losses=["hard_ce"], unlabeled="use")


def test_a_resumed_training_with_unlabelled_rows_is_bit_equal(
    taught_teacher: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a resumed run that sees the mixed rows in another order, or other logits for them."""
    options: dict[str, Any] = {"losses": ["logits_kl", "hard_ce"], "epochs": 1, "checkpoint_steps": 5, "device": "cpu"}
    whole = distilled(*taught_teacher, tmp_path / "whole" / "student", **options)
    real = CheckpointWriter.write

    def cut(self: CheckpointWriter, step: int, *args: Any, **given: Any) -> Path:
        found = real(self, step, *args, **given)
        if step == 10:
            raise JobError("power cut")
        return found

    monkeypatch.setattr(CheckpointWriter, "write", cut)
    with pytest.raises(JobError, match="power cut"):
        distilled(*taught_teacher, tmp_path / "broken" / "student", **options)
    monkeypatch.undo()
    resumed = distilled(*taught_teacher, tmp_path / "broken" / "student", **options)
    assert verify(resumed)["measured"]["resumed_from"] == 10 and verify(whole)["measured"]["resumed_from"] is None
    one, two = ((folder / "model.safetensors").read_bytes() for folder in (whole, resumed))
    assert one == two


@pytest.fixture(scope="module")
def second_teacher(taught_teacher: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another teacher with the same tokenizer: deeper and wider."""
    folder = tmp_path_factory.mktemp("second")
    body = small_checkpoint(folder / "body", shape={"layers": 3, "width": 48})
    return taught(str(body), taught_teacher[0], folder / "second")


def test_several_teachers(taught_teacher: tuple[Path, Path], second_teacher: Path, tmp_path: Path) -> None:
    """Prevents a second teacher that is loaded and not heard: both scored, each with its own layers, weights kept."""
    losses = ["logits_kl", {"hidden_mse": {"map": "attention", "weight": 0.1}}, {"attention_mse": {"map": "last"}}]
    folder = distilled(
        *taught_teacher, tmp_path / "student", losses=losses, student=KEEN, epochs=4,
        teachers=["$teacher", str(second_teacher)], combine="confidence", balance={"gradient_norm": {"every": 5}},
    )  # fmt: skip
    measured = verify(folder, "Model")["measured"]
    assert set(measured["teachers"]) == {"$teacher", str(second_teacher)}
    assert all(scores["dev"]["accuracy"] > measured["chance"] for scores in measured["teachers"].values())
    assert measured["dev"]["accuracy"] > 0.9 and measured["retained"] > 0.9
    assert [len(each["weights"][0]) for each in measured["layer_maps"]["hidden_mse"]] == [2, 3]
    assert [each["pairs"] for each in measured["layer_maps"]["attention_mse"]] == [[[1, 2]], [[1, 3]]]
    assert set(measured["weights"]) == set(measured["first_batch"]) == {"logits_kl", "hidden_mse", "attention_mse"}
    assert measured["overlap"] and measured["cut_off"] == 0.0


def test_stored_logits_of_several_teachers(
    taught_teacher: tuple[Path, Path], second_teacher: Path, tmp_path: Path
) -> None:
    """Prevents the logits of one teacher from being kept, or found, for the other."""
    several: dict[str, Any] = {"teachers": ["$teacher", str(second_teacher)], "epochs": 1, "teacher_mode": "stored"}
    distilled(*taught_teacher, tmp_path / "student", **several)
    assert len(list(tmp_path.glob("signals-*"))) == 2
    again = distilled(*taught_teacher, tmp_path / "again", **several, combine={"fixed": {"weights": [1, 2]}})
    assert len(list(tmp_path.glob("signals-*"))) == 2
    spoke = verify(again)["measured"]["teacher_mode"]
    assert [each["mode"] for each in spoke] == ["stored", "stored"] and not any(each["rows_computed"] for each in spoke)


def test_teachers_with_other_tokens_are_refused(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents one teacher from reading the other's token numbers as its own words."""
    body = small_checkpoint(tmp_path / "body", family="roberta")
    other = taught(str(body), taught_teacher[0], tmp_path / "other")
    with pytest.raises(InputError, match="several teachers in one step need one tokenizer"):
        distilled(*taught_teacher, tmp_path / "student", teachers=["$teacher", str(other)])


def test_every_teacher_is_checked(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a second teacher that was never taught, or whose outputs mean other labels, from passing unseen."""
    untaught = small_checkpoint(tmp_path / "untaught")
    with pytest.raises(InputError, match="untaught: has no trained head"):
        distilled(*taught_teacher, tmp_path / "one", teachers=["$teacher", str(untaught)])
    with pytest.raises(InputError, match="untaught: has no trained head"):
        distilled(
            *taught_teacher, tmp_path / "two", teachers=["$teacher", str(untaught)],
            combine="confidence", losses=[{"hidden_mse": {"map": "last"}}],
        )  # fmt: skip
    turned = small_checkpoint(tmp_path / "turned", labels=["good", "bad"])
    with pytest.raises(InputError, match="turned: the teacher's labels stand in the order"):
        distilled(*taught_teacher, tmp_path / "three", teachers=["$teacher", str(turned)])
