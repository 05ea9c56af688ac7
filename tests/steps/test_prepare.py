"""The `prepare` step, from recipe options to an opened corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from compress.core.artifact import ArtifactWriter
from compress.core.errors import InputError
from compress.core.reporter import Reporter
from compress.corpora.corpus import Corpus
from compress.steps.base import Context
from compress.steps.prepare import Prepare
from tests.corpora.tools import labelled, lines


class Heard(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def prepared(folder: Path, reporter: Reporter | None = None, seed: int = 13, **options: Any) -> Corpus:
    """Run `prepare` into `folder / "corpus"` and open what it wrote."""
    step = Prepare.model_validate(options)
    assert step.preflight() == []
    writer = ArtifactWriter(folder / "corpus")
    context = Context("corpus", {}, writer.open(), folder, seed, reporter or Reporter())
    step.run(context)
    writer.commit({"kind": "Corpus", "key": "k1", "about": context.about})
    return Corpus.open(folder / "corpus")


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Forty training rows and four of dev."""
    lines(tmp_path / "data" / "train.jsonl", labelled(*["ham", "spam"] * 20))
    lines(tmp_path / "data" / "dev.jsonl", [{"text": f"d {n}", "label": "ham"} for n in range(4)])
    return str(tmp_path / "data")


def test_a_corpus_opens_as_it_was_written(data: str, tmp_path: Path) -> None:
    """Labels, columns or the task changing between the step and what reads it."""
    corpus = prepared(tmp_path, source={"jsonl": {"path": data}}, task={"classify": {"text": "text"}})
    assert corpus.task == {"classify": {"text": "text", "text_pair": None, "label": "label"}}
    assert corpus.labels == ["ham", "spam"] and corpus.key == "k1" and not corpus.slices
    assert corpus.rows == {"train": 40, "dev": 4} and corpus.has("dev") and not corpus.has("test")
    assert corpus.split("train").to_list()[:2] == [{"text": "text 0", "label": 0}, {"text": "text 1", "label": 1}]
    assert corpus.texts("dev")[0] == {"text": "d 0", "label": 0}
    with pytest.raises(InputError, match=r"no test split \(it has: train, dev\)"):
        corpus.split("test")


def test_pairs_scores_and_tags_keep_their_columns(tmp_path: Path) -> None:
    """A column lost or retyped on the way into Parquet."""
    row = {"a": "x", "b": "y", "n": 3, "w": ["x", "y"], "t": ["B-X", "O"]}
    path = str(lines(tmp_path / "t.jsonl", [row, {**row, "a": "z", "n": 4.5, "w": ["z", "y"]}]))
    source = {"jsonl": {"train": path, "dev": path}}
    pair = prepared(tmp_path, source=source, task={"regress": {"text": "a", "text_pair": "b", "target": "n"}})
    assert pair.texts("train") == [
        {"text": "x", "text_pair": "y", "score": 3.0},
        {"text": "z", "text_pair": "y", "score": 4.5},
    ]
    tags = prepared(tmp_path, source=source, task={"tag": {"tokens": "w", "tags": "t"}})
    assert tags.labels == ["B-X", "O"] and tags.texts("dev")[1] == {"tokens": ["z", "y"], "tags": [0, 1]}


def test_a_dev_split_is_carved_when_asked(data: str, tmp_path: Path) -> None:
    """A labelled task that would train without a dev split, or one carved though it has one."""
    (tmp_path / "data" / "dev.jsonl").unlink()
    options = {"source": {"jsonl": {"path": data}}, "task": "classify"}
    (fault,) = Prepare.model_validate(options).preflight()
    assert fault.path == "source" and "dev_share: 0.1" in fault.message
    assert prepared(tmp_path, **options, dev_share=0.1).rows == {"train": 36, "dev": 4}


def test_a_mask_corpus_carves_its_own(tmp_path: Path) -> None:
    """Plain text needing splits that it never has."""
    (tmp_path / "a.txt").write_text(" ".join(f"Sentence number {n} stands here." for n in range(400)))
    corpus = prepared(tmp_path, source={"text": {"path": str(tmp_path / "a.txt"), "words": 6}}, task="mask")
    assert corpus.rows == {"train": 392, "dev": 8} and corpus.labels == []


def test_limits_are_the_same_for_a_seed(data: str, tmp_path: Path) -> None:
    """Rows drawn anew on every run, or a limit on train that cuts dev."""
    options = {"source": {"jsonl": {"path": data}}, "task": "classify", "limit": {"train": 10}}
    first = prepared(tmp_path, **options)
    rows = first.texts("train")
    assert first.rows == {"train": 10, "dev": 4} and prepared(tmp_path, **options).texts("train") == rows
    assert prepared(tmp_path, seed=14, **options).texts("train") != rows
    assert prepared(tmp_path, **{**options, "limit": 3}).rows == {"train": 3, "dev": 3}


def test_overlap_is_told_and_recorded(data: str, tmp_path: Path) -> None:
    """A dev number made of training rows being believed."""
    lines(tmp_path / "data" / "dev.jsonl", labelled("ham"))
    heard = Heard()
    prepared(tmp_path, heard, source={"jsonl": {"path": data}}, task="classify")
    assert heard.warnings == [
        "corpus: 100.0% of dev also stands in train, so its numbers will flatter; remove those rows"
    ]


def test_reviews_bring_their_slices(tmp_path: Path) -> None:
    """Results by phenomenon impossible because the column was dropped."""
    corpus = prepared(tmp_path, source={"reviews": {"rows": 400, "unlabeled": 20}}, task="classify")
    assert corpus.slices and corpus.labels == ["negative", "positive"]
    assert corpus.rows == {"train": 320, "dev": 40, "test": 40, "unlabeled": 20}
    assert set(corpus.texts("test")[0]) == {"text", "label", "slice"} and set(corpus.texts("unlabeled")[0]) == {"text"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limit": 0}, "limit: expected at least 1 row"),
        ({"limit": {"trian": 5}}, "limit: 'trian' is not a split; did you mean \"train\"?"),
        ({"labels": ["a", "a"]}, "labels: a stands twice"),
        ({"labels": ["a"]}, "at least 2"),
        ({"labels": ["a", "b"], "label_names": {0: "c"}}, "label_names: c is not among `labels`"),
        ({"dev_share": 0.9}, "less than 0.5"),
    ],
)
def test_options_that_are_wrong(options: dict[str, Any], said: str) -> None:
    """Options that contradict each other found after the files were read."""
    with pytest.raises(ValidationError, match=said.replace("?", r"\?")):
        Prepare.model_validate({"source": {"reviews": {}}, "task": "classify", **options})


def test_a_folder_that_is_no_corpus(data: str, tmp_path: Path) -> None:
    """A traceback for a wrong folder or a damaged split."""
    with pytest.raises(InputError, match="not an artifact"):
        Corpus.open(data)
    corpus = prepared(tmp_path, source={"jsonl": {"path": data}}, task="classify")
    (corpus.folder / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"train\.parquet: cannot be read .* run its `prepare` step again"):
        corpus.split("train")
