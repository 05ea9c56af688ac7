"""Distilling into a student with a tokenizer of its own, as a recipe does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoConfig, AutoTokenizer, pipeline

from compress import Student
from compress.core.artifact import verify
from compress.core.errors import InputError
from compress.core.options import refs
from compress.steps.distill import Distill
from tests.steps.test_distill import KEEN, TINY, distilled
from tests.teachers.helpers import corpus_of, sentences, small_checkpoint, small_corpus, taught

POSITIONS = [{"hidden_mse": {"map": "last"}}, {"attention_mse": {"map": "last"}}]
HALF = {"distilbert": {"layers": 1, "dropout": 0.0}}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus and a teacher that knows it."""
    folder = tmp_path_factory.mktemp("distill")
    corpus = small_corpus(folder / "corpus")
    return corpus, taught(str(small_checkpoint(folder / "body")), corpus, folder / "teacher")


@pytest.mark.parametrize(("tokenizer", "student"), [("wordpiece", KEEN), ("byte_bpe", HALF)])
def test_a_student_with_a_trained_tokenizer(
    known: tuple[Path, Path],
    tmp_path: Path,
    tokenizer: str,
    student: dict[str, Any],
) -> None:
    """Prevents a student that learnt under one vocabulary and is saved with another, or that learnt nothing."""
    size = {"wordpiece": 90, "byte_bpe": 320}[tokenizer]
    folder = distilled(
        *known, tmp_path / "student", tokenizer={tokenizer: {"size": size}}, student=student,
        losses=["logits_kl", *POSITIONS], epochs=4,
    )  # fmt: skip
    about, measured = verify(folder, "Model")["about"], verify(folder, "Model")["measured"]
    assert measured["dev"]["accuracy"] > 0.9
    saved, config = AutoTokenizer.from_pretrained(folder), AutoConfig.from_pretrained(folder)
    facts = about["tokenizer"]
    assert facts["from"] == tokenizer and facts["vocabulary"] == len(saved) == config.vocab_size <= size
    assert facts["teacher_vocabulary"] > 90 and facts["fit"]["characters"] == 1.0
    assert sum(facts["embeddings"].values()) == config.vocab_size and facts["embeddings"]["copied"] > 20
    assert config.pad_token_id == saved.pad_token_id == {"wordpiece": 0, "byte_bpe": 1}[tokenizer]
    assert saved.model_max_length == about["max_length"] == 16
    loaded = Student.load(folder)
    assert [one.label for one in loaded.predict(["the film was lovely", "the film was dull"])] == ["good", "bad"]
    assert pipeline("text-classification", model=str(folder))("the film was lovely")[0]["label"] == "good"


def test_logits_alone_need_no_alignment(known: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents the teacher's kept logits from being those of the student's token ids."""
    folder = distilled(*known, tmp_path / "student", tokenizer={"byte_bpe": {"size": 320}}, student=HALF, epochs=4)
    assert verify(folder)["measured"]["dev"]["accuracy"] > 0.9


def test_an_initialisation_that_looks_at_texts(known: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents the teacher's token ids from being looked up in the table of the student's smaller vocabulary."""
    student = {"electra": {"layers": 1, "width": 16, "heads": 2, "ffn": 32, "embedding": 8}}
    folder = distilled(*known, tmp_path / "student", tokenizer={"wordpiece": {"size": 60}}, student=student, epochs=1)
    inherited = verify(folder)["about"]["inherited"]
    assert "texts" in str(inherited), inherited


def test_a_start_keeps_its_own_tokenizer(known: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents two stages of which the second reads the first one's embeddings by another vocabulary's numbers."""
    text = [{"text": row["text"]} for row in sentences(64, 9)]
    plain = corpus_of(tmp_path / "plain", {"train": text, "dev": text[:8]}, {"mask": {"text": "text"}}, [])
    general = distilled(plain, known[1], tmp_path / "general", losses=POSITIONS, tokenizer={"wordpiece": {"size": 90}})
    facts = verify(general)["about"]["tokenizer"]
    assert "embeddings" not in facts  # a random student takes none over
    folder = distilled(*known, tmp_path / "task", start="$general", losses=["logits_kl", *POSITIONS])
    one, two = (json.loads((each / "tokenizer.json").read_text()) for each in (general, folder))
    assert one["model"] == two["model"]
    assert verify(folder)["about"]["tokenizer"]["from"] == "the start's ($general)"
    with pytest.raises(InputError, match="leave `tokenizer` out"):
        distilled(*known, tmp_path / "other", start="$general", tokenizer={"byte_bpe": {"size": 300}})


def test_a_tokenizer_that_is_there(known: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a folder's tokenizer that is read and not used, and the teacher's own taken for another one."""
    other = small_checkpoint(tmp_path / "other", family="roberta")
    folder = distilled(*known, tmp_path / "student", tokenizer=str(other), epochs=1)
    assert verify(folder)["about"]["tokenizer"]["from"] == str(other)
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == AutoTokenizer.from_pretrained(other).get_vocab()
    same = distilled(*known, tmp_path / "same", tokenizer=str(known[1]), epochs=1)
    assert "tokenizer" not in verify(same)["about"]


def test_what_a_recipe_may_say() -> None:
    """Prevents a misspelled option that passes, and a $step that the plan does not see."""
    given: dict[str, Any] = {"corpus": "$corpus", "teacher": "$teacher", "student": TINY, "losses": ["logits_kl"]}
    step = Distill.model_validate({**given, "tokenizer": "$other"})
    assert ("tokenizer", "$other") in [(path, value) for path, value, _ in refs(step)]
    trained = Distill.model_validate({**given, "tokenizer": {"wordpiece": {"size": 90}}})
    assert trained.dump()["tokenizer"]["wordpiece"]["size"] == 90
    assert Distill.model_validate(trained.dump()) == trained and Distill.model_validate(step.dump()) == step
    with pytest.raises(ValidationError, match="nested"):
        Distill.model_validate({**given, "tokenizer": {"wordpiece": {"sise": 90}}})
    missing = Distill.model_validate({**given, "tokenizer": "./nowhere"})
    assert [fault.path for fault in missing.preflight()] == ["tokenizer"]
