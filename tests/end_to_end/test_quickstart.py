"""The quickstart's promise about its corpus: worth a teacher, and out of reach of counting words."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from compress.core.artifact import read_manifest
from compress.corpora.corpus import Corpus
from compress.pipeline.recipe import load_recipe
from compress.pipeline.run import run

RECIPE = Path(__file__).resolve().parents[2] / "configs" / "recipes" / "quickstart.yaml"


@pytest.mark.slow
def test_the_teacher_is_above_90_and_words_alone_are_10_points_below(tmp_path: Path) -> None:
    """Prevents an embedded corpus that a linear model solves, or that a teacher from scratch cannot learn."""
    store = run(load_recipe(RECIPE), tmp_path / "run", until="teacher")
    taught = read_manifest(store.folder("teacher"))["measured"]["test"]["accuracy"]
    corpus = Corpus.open(store.folder("corpus"))
    train, dev, test = (corpus.split(name) for name in ("train", "dev", "test"))
    counter = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    words = {"train": counter.fit_transform(train["text"][:])}
    words |= {"dev": counter.transform(dev["text"][:]), "test": counter.transform(test["text"][:])}
    models = [LogisticRegression(C=c, max_iter=1000).fit(words["train"], train["label"][:]) for c in (0.3, 1, 3, 10)]
    best = max(models, key=lambda model: model.score(words["dev"], dev["label"][:]))
    linear = best.score(words["test"], test["label"][:])
    assert taught > 0.90
    assert linear <= taught - 0.10
