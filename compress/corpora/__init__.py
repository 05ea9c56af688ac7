"""Corpora: sources, checks, and the artifact that holds normalised rows."""
