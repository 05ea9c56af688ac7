"""A tokenizer by itself, from a folder or the hub: what a student may have of its own."""

from __future__ import annotations

from typing import Any

from transformers import AutoTokenizer

from compress.core.errors import InputError
from compress.train.folder import explained, prefix_words, quiet
from compress.train.source import is_folder


def load_tokenizer(source: str, *, words: bool) -> Any:
    """The fast tokenizer of a model folder, a tokenizer folder or a hub name.

    words: whether it is to read words one by one, for a model that is yet to learn to (`tag`). Raises InputError for a
    tokenizer that is not fast, cannot pad, or knows nothing but special tokens.
    """
    is_folder(source)
    with quiet(), explained(source):
        tokenizer = AutoTokenizer.from_pretrained(source)
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(f"{source}: has no fast tokenizer; add tokenizer.json (AutoTokenizer saves it)")
    if tokenizer.pad_token_id is None:
        raise InputError(f"{source}: its tokenizer has no padding token, so texts cannot be batched")
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise InputError(f"{source}: its tokenizer knows special tokens only; give a folder with tokenizer.json")
    if words:
        prefix_words(tokenizer)
    return tokenizer
