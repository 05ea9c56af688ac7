"""Tokenizers, trained once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runtime import tiny


@pytest.fixture(scope="session")
def word_piece() -> Any:
    """A tiny BERT tokenizer."""
    return tiny.word_piece()


@pytest.fixture(scope="session")
def byte_pairs() -> Any:
    """A tiny RoBERTa tokenizer."""
    return tiny.byte_pairs()
