"""Teaching and distilling sentence embeddings on the three kinds of corpus."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from compress.core.errors import InputError
from compress.core.options import Choice
from compress.core.trace import Trace
from compress.corpora.corpus import Corpus
from compress.distill.objective import Objective
from compress.distill.teacher import LiveTeacher
from compress.losses.base import Loss
from compress.runtime.student import Student
from compress.tasks.features import collator, encode_rows
from compress.train.folder import load_model
from tests.steps.test_distill import KEEN, distilled
from tests.tasks.tools import generator
from tests.tasks.tools import task as task_of
from tests.teachers.helpers import REST, corpus_of, sentences, small_checkpoint, taught

STEP: dict[str, Any] = {"epochs": 1, "losses": [{"hidden_mse": {"map": "last"}}], "student": "distilbert"}


def corpus(folder: Path, kind: str) -> Path:
    """Single texts, pairs that belong together, or pairs with a score."""
    options = {"single": {}, "pairs": {"text_pair": "b"}, "scored": {"text_pair": "b", "target": "s", "highest": 1.0}}
    splits: dict[str, list[dict[str, Any]]] = {}
    for split, count, seed in (("train", 64, 1), ("dev", 24, 2)):
        rows = [{"text": row["text"]} for row in sentences(count, seed)]
        for number, row in enumerate(rows):
            if kind != "single":
                row["text_pair"] = " ".join(reversed(row["text"].split()))
            if kind == "scored":
                row["score"] = float(number % 2)  # type: ignore[assignment]
                if not number % 2:
                    row["text_pair"] = " ".join(random.Random(number).choices(REST, k=6))
        splits[split] = rows
    return corpus_of(folder, splits, Choice.dump(task_of("embed", **options[kind])), [])


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained body with its tokenizer."""
    return small_checkpoint(tmp_path_factory.mktemp("embed") / "body")


@pytest.mark.parametrize(("kind", "metric"), [("pairs", "mrr"), ("scored", "spearman")])
def test_pairs_teach_and_score(body: Path, tmp_path: Path, kind: str, metric: str) -> None:
    """A corpus of pairs must give a teacher, and a student that is judged by the same metric."""
    pairs = corpus(tmp_path / "corpus", kind)
    teacher = taught(str(body), pairs, tmp_path / "teacher")
    measured = json.loads((teacher / "manifest.json").read_text())["measured"]
    assert metric in measured["dev"] and measured["dev"][metric] == pytest.approx(measured["dev"][metric])
    if kind == "pairs":  # reversed words are easily found
        assert measured["above_chance"] and measured["dev"]["recall@10"] > 0.5
        student = distilled(pairs, teacher, tmp_path / "student", **STEP)
        found = json.loads((student / "manifest.json").read_text())
        assert metric in found["measured"]["dev"] and found["about"]["trained_head"]
        assert Student.load(student, threads=1).verify().difference < 1e-5


def test_single_texts_distil_and_do_not_teach(body: Path, tmp_path: Path) -> None:
    """Plain text has no pairs to score: distilling on it must work, and teaching on it must say why not."""
    single = corpus(tmp_path / "corpus", "single")
    student = distilled(single, body, tmp_path / "student", **STEP)
    measured = json.loads((student / "manifest.json").read_text())["measured"]
    assert "dev" not in measured and "retained" not in measured
    assert Student.load(student, threads=1).embed(["the soup was fine"]).shape == (1, 32)
    AutoModel.from_pretrained(student)
    with pytest.raises(InputError, match="single texts"):
        taught(str(body), single, tmp_path / "teacher")


@pytest.mark.parametrize(("kind", "loss"), [("pairs", "hard_contrastive"), ("scored", "hard_cosine")])
def test_a_student_without_a_teacher(body: Path, tmp_path: Path, kind: str, loss: str) -> None:
    """The student that a distilled one is compared with: pairs must teach it what a teacher would learn from them."""
    pairs = corpus(tmp_path / "corpus", kind)
    teacher = taught(str(body), pairs, tmp_path / "teacher", epochs=1)
    student = distilled(pairs, teacher, tmp_path / "student", student=KEEN, losses=[loss], epochs=8)
    found = json.loads((student / "manifest.json").read_text())
    assert not found["about"]["uses_teacher"] and found["about"]["trained_head"]
    history = found["measured"]["history"]
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    if kind == "pairs":
        assert found["measured"]["dev"]["recall@10"] > 0.5
    other = {"pairs": "hard_cosine", "scored": "hard_contrastive"}[kind]
    with pytest.raises(InputError, match=rf"{other}: learns from pairs .*loss: {loss}"):
        distilled(pairs, teacher, tmp_path / "other", student=KEEN, losses=[other])


def test_single_texts_beside_pairs(body: Path, tmp_path: Path) -> None:
    """Plain text is what there is most of: it follows the teacher, and losses on pairs leave it out."""
    pairs = corpus(tmp_path / "corpus", "pairs")
    splits = {split: Corpus.open(pairs).texts(split) for split in ("train", "dev")}
    splits["unlabeled"] = [{"text": row["text"], "text_pair": None} for row in sentences(40, 9)]
    mixed = corpus_of(tmp_path / "mixed", splits, Corpus.open(pairs).task, [])
    losses = ["hard_contrastive", "embedding_cosine"]
    student = distilled(mixed, body, tmp_path / "student", student=KEEN, losses=losses, epochs=1)
    found = json.loads((student / "manifest.json").read_text())
    assert found["about"]["trained_rows"] == {"train": 64, "unlabeled": 40}
    assert all(term["value"] > 0 for term in found["measured"]["first_batch"].values())


def test_pairs_and_states_under_two_tokenizers(body: Path, tmp_path: Path) -> None:
    """Spans of a first text laid over a second one would compare other words; both texts have their own."""
    pairs = corpus(tmp_path / "corpus", "pairs")
    splits = {split: Corpus.open(pairs).texts(split) for split in ("train", "dev")}
    splits["unlabeled"] = [{"text": row["text"]} for row in sentences(20, 9)]
    mixed = corpus_of(tmp_path / "mixed", splits, Corpus.open(pairs).task, [])
    losses = ["embedding_cosine", {"hidden_mse": {"map": "last"}}, {"attention_mse": {"map": "last"}}]
    own = {"tokenizer": {"wordpiece": {"size": 60}}, "student": KEEN, "losses": losses, "epochs": 1}
    student = distilled(mixed, body, tmp_path / "student", **own)
    found = json.loads((student / "manifest.json").read_text())
    assert found["about"]["tokenizer"]["fit"]["characters"] > 0.9
    assert all(term["gradient"] > 0 for term in found["measured"]["first_batch"].values())


class Gap(Loss):
    """Squared distance of embeddings, as another package would write it."""

    needs: ClassVar[frozenset[str]] = frozenset({"embedding"})
    registered_name: ClassVar[str] = "gap"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        assert teacher is not None and student.embedding is not None and teacher.embedding is not None
        return (student.embedding - teacher.embedding).square().sum(-1).mean()


def test_losses_read_the_pooled_embedding(body: Path, tmp_path: Path) -> None:
    """A loss on embeddings that gets another pooling than the student is saved with would teach another student."""
    rows = Corpus.open(corpus(tmp_path / "corpus", "pairs")).texts("train")[:5]
    loaded, other = load_model(str(body), "AutoModel"), load_model(str(body), "AutoModel").model
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator(1)))
    one = task_of("embed", text_pair="b", pooling="max")
    batch = collator(one, 0)(encode_rows(one, loaded.tokenizer, rows, 16), generator())
    told = LiveTeacher(other, read=one.read, pool=one.pool)
    objective = Objective(loaded.model, told, [Gap()], read=one.read, pool=one.pool).eval()
    value, _ = objective(batch)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    mine, theirs = (one.read(model(**inputs), batch) for model in (loaded.model, other))
    assert mine.shape == (10, 32) and value.item() == pytest.approx((mine - theirs).square().sum(-1).mean().item())
    value.backward()
