"""What a real model proposes, against the plain way to ask it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from compress.core.errors import InputError
from compress.steps.proposer import ModelProposer
from tests.steps.masked import masked_model
from tests.teachers.helpers import small_checkpoint

TEXTS = [["the", "soup", "was", "lovely."], ["a", "harsh", "film"]]


@pytest.fixture(scope="module", params=["bert", "roberta"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model of each way to cut words: word pieces, and bytes with the space before a word."""
    return masked_model(tmp_path_factory.mktemp("proposer") / "model", request.param)


def proposer(folder: Path, **given: Any) -> ModelProposer:
    """In float32, so that equal means equal."""
    made = ModelProposer(str(folder), **given)
    made.precision = "fp32"
    return made


def test_fills_are_the_heads_likeliest_whole_words(folder: Path) -> None:
    """Prevents candidates read at a wrong place, from padding, or that are pieces of words or special tokens."""
    made = proposer(folder, fills=True)
    found = made.fills(TEXTS, [[1, 3], [2]], 4)
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    mask = tokenizer.mask_token
    for said, text, old in (
        (found[0][0], f"the {mask} was lovely.", "soup"),
        (found[0][1], f"the soup was {mask}.", "lovely"),
        (found[1][0], f"a harsh {mask}", "film"),
    ):
        ids = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**ids).logits[0, ids["input_ids"][0].tolist().index(tokenizer.mask_token_id)]
        ranked = tokenizer.convert_ids_to_tokens(logits.argsort(descending=True).tolist())
        starts = [token.removeprefix("Ġ") for token in ranked if tokenizer.unk_token == "[UNK]" or token[0] == "Ġ"]
        assert said == [word for word in starts if word.isalpha() and word != old][:4] and len(said) == 4


def test_neighbours_are_the_nearest_rows_of_the_embedding(folder: Path) -> None:
    """Prevents neighbours of another token than the word's, and candidates that are no words."""
    made = proposer(folder)
    assert made.single("soup") and not made.single("soupfilm")
    (found, several, none) = made.neighbours(["soup", "soupfilm", "☃☃"], 3)
    words = list(made._whole.values())
    table = made.model.get_input_embeddings().weight.detach().cpu().numpy()[list(made._whole)]
    table = table - table.mean(0)
    table = table / np.linalg.norm(table, axis=1, keepdims=True)
    order = np.argsort(-(table @ table[words.index("soup")]))
    assert found == [words[row] for row in order[1:4]]
    assert {"soup", "film"} <= set(words) and all(word.isalpha() for word in words)
    for said, word in ((several, "soupfilm"), (none, "☃☃")):  # word pieces may know no way to write a word
        assert len(said) == (0 if made.tokenizer.unk_token_id in made.tokenizer(word)["input_ids"] else 3)


def test_places_past_the_longest_input_have_no_candidates(folder: Path) -> None:
    """Prevents candidates of another place where the mask token was cut away."""
    made = proposer(folder, fills=True)
    ((near, far),) = made.fills([["soup"] * 40], [[1, 39]], 3)
    assert len(near) == 3 and far == [] and made.fills(TEXTS, [[], []], 3) == [[], []]


def test_a_model_without_a_masked_lm_head_is_refused(tmp_path: Path) -> None:
    """Prevents words drawn from a random head."""
    body = small_checkpoint(tmp_path / "body")
    with pytest.raises(InputError, match="no trained masked-LM head"):
        ModelProposer(str(body), fills=True)
    assert ModelProposer(str(body)).neighbours(["soup"], 2)
