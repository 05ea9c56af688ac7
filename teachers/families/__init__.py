"""Families of teacher checkpoints, one per file."""
