"""Anatomies: per architecture, where the embeddings, layers, q/k/v/o, FFN and head live."""
