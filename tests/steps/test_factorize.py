"""factorize, as a recipe runs it, on tiny models; and what may come before and after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from compress.core.artifact import ArtifactWriter
from compress.core.errors import InputError
from compress.core.options import Choice
from compress.core.reporter import Reporter
from compress.corpora.corpus import Corpus, write_splits
from compress.distill.distillation import Distillation
from compress.runtime.student import Student
from compress.steps.base import STEPS, Context
from compress.steps.distill import Distill
from compress.tasks.base import TASKS
from compress.train.folder import save_student
from compress.train.options import TrainOptions
from tests.quantize.forms import LABELS, corpus_of, model_of, named, rows_of, run_step, tokenizer_of
from tests.teachers.helpers import small_checkpoint, small_corpus, taught

SVD = {"embedding_svd": {"width": 8}}
SHARE = {"share_layers": {}}
LOW = {"low_rank": {"rank": {"ratio": 0.5}}}
SLOW = pytest.mark.slow


class Notes(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        """Keep a note."""
        self.said.append(text)

    def warn(self, text: str) -> None:
        """Keep a warning."""
        self.said.append(text)


def teacher_of(folder: Path, family: str = "bert", task: str = "classify") -> Path:
    """A float model of two layers."""
    writer = ArtifactWriter(folder)
    about = save_student(
        model_of(family, task, layers=2), tokenizer_of(family), writer.open(), task=named(task),
        labels=LABELS.get(task, []), max_length=24, golden_rows=rows_of(task)[:3],
    )  # fmt: skip
    return writer.commit({"kind": "Model", "key": "m", "about": about, "measured": {}})


def run(
    folder: Path, name: str, model: Path, method: Any, notes: Reporter | None = None, task: str = "classify"
) -> Path:
    """Run `factorize` over a model; returns its artifact."""
    corpus = folder / "corpus" if (folder / "corpus").is_dir() else corpus_of(folder / "corpus", task)
    step = STEPS.get("factorize").model_validate({"model": "$model", "corpus": "$corpus", "method": method})
    return run_step(step, folder / name, notes or Notes(), model=model, corpus=corpus)


def manifest_of(folder: Path) -> dict[str, Any]:
    """What stands beside an artifact."""
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def test_a_smaller_model_with_its_record(tmp_path: Path) -> None:
    """Prevents a model that a stock class cannot open, and a record without what the factorization cost."""
    notes = Notes()
    out = run(tmp_path, "small", teacher_of(tmp_path / "model"), SVD, notes)
    manifest = manifest_of(out)
    counts, measured = manifest["measured"]["parameters"], manifest["measured"]
    assert counts["after"]["embeddings"] < 0.5 * counts["before"]["embeddings"]
    assert counts["after"]["encoder"] == counts["before"]["encoder"]
    assert counts["after"] == manifest["about"]["parameters"]
    assert measured["retained"] == pytest.approx(measured["dev"]["accuracy"] / measured["before"]["dev"]["accuracy"])
    assert manifest["about"]["factorized"]["method"] == "embedding_svd"
    AutoModelForSequenceClassification.from_pretrained(out)
    Student.load(out).verify()
    (told,) = notes.said
    assert "before repair" in told and "student: {checkpoint: {name: $small}}" in told
    assert "the norm of the embeddings acts on the narrow tables" in told


@pytest.mark.parametrize(
    "task", ["tag", *(pytest.param(name, marks=SLOW) for name in ("mask", "regress", "multilabel", "answer", "embed"))]
)
def test_every_task(tmp_path: Path, task: str) -> None:
    """Prevents a task whose head, loss or metric the step does not know; low_rank looks at the task's own texts."""
    teacher = teacher_of(tmp_path / "model", task=task)
    by = "activation" if task == "embed" else "fisher"
    out = run(tmp_path, "low", teacher, {"low_rank": {"budget": 0.5, "by": by, "samples": 4}}, task=task)
    assert Student.load(out).verify().difference < 1e-4
    run(tmp_path, "narrow", teacher, SVD, task=task)


def test_fisher_of_embeddings_is_refused(tmp_path: Path) -> None:
    """Prevents a contrastive loss over batches of one text, which is always 0."""
    method = {"low_rank": {"budget": 0.5, "by": "fisher"}}
    with pytest.raises(InputError, match="use plain or activation"):
        run(tmp_path, "low", teacher_of(tmp_path / "model", task="embed"), method, task="embed")


def test_factorizations_one_after_another(tmp_path: Path) -> None:
    """Prevents an order that should work and does not: share, then narrow, then low-rank, each on the last one's."""
    model = teacher_of(tmp_path / "model")
    sizes = [manifest_of(model)["about"]["parameters"]["total"]]
    for name, method in (("shared", SHARE), ("narrow", SVD), ("low", LOW)):
        model = run(tmp_path, name, model, method)
        sizes.append(manifest_of(model)["about"]["parameters"]["total"])
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4
    Student.load(model).verify()


@pytest.mark.parametrize(
    ("engine", "method"),
    [("torch", LOW), *(pytest.param(*one, marks=SLOW) for one in (("onnx", LOW), ("onnx", SVD), ("torch", SVD)))],
)
def test_int_8_after_a_factorization(tmp_path: Path, engine: str, method: Any) -> None:
    """Prevents factors that int8 loses, or leaves float under the name of int8; an int8 model is refused in turn."""
    small = run(tmp_path, "small", teacher_of(tmp_path / "model"), method)
    step = STEPS.get("quantize").model_validate({"model": "$model", "corpus": "$corpus", "method": engine})
    out = run_step(step, tmp_path / "int8", Notes(), model=small, corpus=tmp_path / "corpus")
    manifest = manifest_of(out)
    assert manifest["about"]["engine"][engine]["weights"]["int8_share"] > 0.85
    assert manifest["measured"]["parity"]["agreement"] > 0.8
    assert Student.load(out).verify().difference == 0.0
    with pytest.raises(InputError, match="is already int8 for the engine"):
        run(tmp_path, "again", out, LOW)


@pytest.mark.slow
@pytest.mark.parametrize("method", [SVD, SHARE, LOW])
def test_the_repair_that_is_told_runs(tmp_path: Path, method: Any) -> None:
    """Prevents a message that names a step which does not work, and a repair that gives back the old shape."""
    corpus = small_corpus(tmp_path / "corpus")
    teacher = taught(str(small_checkpoint(tmp_path / "body")), corpus, tmp_path / "teacher")
    small = run(tmp_path, "small", teacher, method)
    step = Distill.model_validate(
        {
            "corpus": "$corpus", "teacher": "$teacher", "student": {"checkpoint": {"name": "$small"}}, "epochs": 2,
            "losses": ["logits_mse", {"hidden_mse": {"map": "uniform"}}], "learning_rate": 3e-3, "precision": "fp32",
        }
    )  # fmt: skip
    writer = ArtifactWriter(tmp_path / "repaired")
    inputs = {"$corpus": corpus, "$teacher": teacher, "$small": small}
    context = Context("repaired", inputs, writer.open(), tmp_path / "work", 7, Notes())
    step.run(context)
    out = writer.commit({"kind": "Model", "key": "r", "about": context.about, "measured": context.measured})
    repaired, start = manifest_of(out), manifest_of(small)
    assert repaired["about"]["parameters"] == start["about"]["parameters"]
    assert repaired["measured"]["dev"]["accuracy"] >= max(0.9, start["measured"]["dev"]["accuracy"])
    Student.load(out).verify()


def test_orders_that_make_no_sense_are_seen_in_the_recipe() -> None:
    """Prevents a teacher that is trained before a factorization is refused: the steps above say enough."""
    steps = {name: STEPS.get("factorize").model_validate({"model": "$m", "corpus": "$c", "method": method})
             for name, method in (("svd", SVD), ("share", SHARE), ("low", LOW))}  # fmt: skip
    for name in ("svd", "share"):
        assert "come before it" in steps[name].objection("model", steps["low"])
        assert steps["low"].objection("model", steps[name]) == ""
    assert "low-rank already" in steps["low"].objection("model", steps["low"])
    assert steps["svd"].objection("model", steps["share"]) == "" == steps["svd"].objection("corpus", steps["low"])


def test_a_sample_is_drawn_from_the_whole_file(tmp_path: Path) -> None:
    """Prevents statistics of one class where the rows are sorted by label: the first ones were taken."""
    rows = [{"text": "a " * (1 + number % 20), "label": number // 40} for number in range(80)]
    writer = ArtifactWriter(tmp_path / "corpus")
    counted = write_splits(writer.open(), {"train": rows, "dev": rows})
    about = {"task": named("classify"), "labels": ["LABEL_0", "LABEL_1"], "rows": counted, "slices": False}
    corpus = Corpus.open(writer.commit({"kind": "Corpus", "key": "k", "about": about}))
    task = Choice(TASKS).parse(corpus.task)
    work = Distillation(task, corpus, tokenizer_of("bert"), 24, TrainOptions(), Notes())  # type: ignore[arg-type]
    one, again, other = (work.sample(20, seed) for seed in (3, 3, 4))
    labels = torch.cat([batch["labels"] for batch in one])
    assert len(labels) == 20 and set(labels.tolist()) == {0, 1}
    assert all(torch.equal(a["input_ids"], b["input_ids"]) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[0]["attention_mask"].sum(1), other[0]["attention_mask"].sum(1))
    assert sum(len(batch["labels"]) for batch in work.sample(1000, 3)) == 80


def test_a_missing_folder_is_seen_before_anything_runs() -> None:
    """Prevents a path with a typing error that is found after the teacher was trained."""
    step = STEPS.get("factorize").model_validate({"model": "no/such/folder", "corpus": "$corpus", "method": LOW})
    (fault,) = step.preflight()
    assert fault.path == "model" and "no such folder" in fault.message
