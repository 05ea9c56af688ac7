"""The augment step: what it writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from compress.core.artifact import ArtifactWriter, read_manifest
from compress.core.errors import InputError
from compress.corpora.checks import text_key
from compress.corpora.corpus import Corpus
from compress.steps.augment import Augment
from compress.steps.base import Context
from tests.teachers.helpers import corpus_of, small_checkpoint, small_corpus


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
    examples = read_manifest(folder)["about"]["augmented"]["joined"]
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
