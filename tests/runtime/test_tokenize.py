"""The runtime's tokenizer gives what transformers gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

from compress.runtime.folder import read_folder
from compress.runtime.inputs import read_inputs
from compress.runtime.tokenize import Encoder
from compress.train.folder import load_model
from tests.runtime import tiny

Folder = Callable[[str, str], Path]
HARD = [
    "a",
    " leading and trailing ",
    "[SEP] </s> <mask> [MASK]",
    "tab\tnew\nline\u00a0nbsp",
    "café " * 30,
    "ﬁ ß Ⅳ 漢字",
    "\u200b!",
]


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("task", ["classify", "pairs", "tag"])
def test_ids_equal_transformers(student: Folder, family: str, task: str) -> None:
    """One id that differs from training makes the deployed student another model."""
    folder = student(family, task)
    encoder = Encoder(read_folder(folder))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [*tiny.TEXTS, *HARD]
    others = list(reversed(texts))
    given = {"classify": texts, "pairs": list(zip(texts, others, strict=True)), "tag": [t.split() for t in texts]}[task]
    first = given if task == "tag" else texts
    expected = tokenizer(
        first, others if task == "pairs" else None, is_split_into_words=task == "tag", truncation=True,
        max_length=24, padding=True, return_tensors="np",
    )  # fmt: skip
    batch = encoder.batch(encoder.encode(read_inputs(given, task if task == "tag" else "classify", None)))
    assert list(batch) == list(expected)
    for name, value in batch.items():
        assert value.tolist() == expected[name].tolist()
    assert batch["input_ids"].shape[1] == 24


def test_words_of_byte_level_tokenizers_get_their_space(student: Folder) -> None:
    """Without the space before it, a byte-level vocabulary spells a word in pieces that it never saw in pretraining."""
    spaced = transformers.AutoTokenizer.from_pretrained(student("roberta", "classify")).tokenize(" The film")
    fresh = load_model(str(student("roberta", "mask")), "AutoModelForTokenClassification", num_labels=3)
    assert fresh.tokenizer(["The", "film"], is_split_into_words=True).tokens()[1:-1] == spaced
    trained = load_model(str(student("roberta", "tag")), "AutoModelForTokenClassification")
    assert trained.tokenizer(["The", "film"], is_split_into_words=True).tokens()[1:-1] != spaced
