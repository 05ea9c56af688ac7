"""Every family: a model from scratch reads its longest input, and a checkpoint of another family is named."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from compress.core.errors import InputError
from compress.corpora.tokenizers.base import TOKENIZERS
from teachers.families.base import FAMILIES, Shape, family_of

SHAPE = Shape(layers=2, width=32, heads=2, ffn=64, dropout=0.0, max_length=12)
TEXTS = [" ".join(f"w{number + shift}" for number in range(30)) for shift in range(20)]


@pytest.mark.parametrize("name", FAMILIES.names())
def test_a_new_model_reads_exactly_its_longest_input(name: str) -> None:
    """RoBERTa's positions start at 2: a table as long as the input would fail on the longest texts only."""
    family = FAMILIES.get(name)()
    tokenizer = TOKENIZERS.get(family.tokenizer)(size=400).train(TEXTS, 12)
    tokenizer.model_input_names = list(family.inputs)
    config = family.config(SHAPE, tokenizer)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    batch = tokenizer([TEXTS[0], "w1"], truncation=True, max_length=12, padding=True, return_tensors="pt")
    assert batch["input_ids"].shape == (2, 12)
    assert set(batch) == set(family.inputs)
    assert family.longest(config) == 12
    with torch.no_grad():
        assert torch.isfinite(model(**batch).logits).all()
    longer = tokenizer([TEXTS[0]], truncation=True, max_length=13, return_tensors="pt")
    with pytest.raises((IndexError, RuntimeError)):
        model(**longer)


@pytest.mark.parametrize("name", FAMILIES.names())
def test_padding_does_not_change_the_answer(name: str) -> None:
    """A padding id that is not the model's shifts RoBERTa's positions, and the batch decides the answer."""
    family = FAMILIES.get(name)()
    tokenizer = TOKENIZERS.get(family.tokenizer)(size=400).train(TEXTS, 12)
    tokenizer.model_input_names = list(family.inputs)
    model = AutoModelForSequenceClassification.from_config(family.config(SHAPE, tokenizer)).eval()
    with torch.no_grad():
        alone = model(**tokenizer(["w1 w2"], return_tensors="pt")).logits
        padded = model(**tokenizer(["w1 w2", "w1 w2 w3 w4 w5"], padding=True, return_tensors="pt")).logits[:1]
    torch.testing.assert_close(alone, padded, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["roberta", "xlm-roberta", "camembert", "mpnet"])
def test_roberta_refuses_a_tokenizer_that_pads_with_another_id(name: str) -> None:
    """Positions are counted where the id is not the padding id, so another id would silently shift them."""
    tokenizer = TOKENIZERS.get("wordpiece")(size=400).train(TEXTS, 12)
    with pytest.raises(InputError, match="padding id of 1"):
        FAMILIES.get(name)().config(SHAPE, tokenizer)


def test_an_unknown_family_is_named_with_the_known_ones() -> None:
    """`KeyError: gpt2` would not tell anyone what to do."""
    with pytest.raises(InputError, match=r"family 'gpt2'.*known: .*bert, .*roberta"):
        family_of("gpt2", "some/folder")
