"""Cutting a fast tokenizer down to some of its tokens, one file for each kind of tokenizer model."""
