"""The plain text of a corpus, as a vocabulary is learnt from it."""

from __future__ import annotations

from compress.corpora.corpus import Corpus

TEXT_COLUMNS = ("text", "text_pair", "tokens", "question", "context")
TEXT_SPLITS = ("train", "unlabeled")


def corpus_texts(corpus: Corpus) -> list[str]:
    """Every text of train and unlabeled; words of tagged rows joined by spaces. Dev and test are never read."""
    texts: list[str] = []
    for split in TEXT_SPLITS:
        for row in corpus.texts(split) if corpus.has(split) else []:
            values = (row[column] for column in TEXT_COLUMNS if row.get(column))
            texts.extend(value if isinstance(value, str) else " ".join(value) for value in values)
    return texts
