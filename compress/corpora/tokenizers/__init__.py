"""Tokenizers trained on a corpus, one kind per file."""
