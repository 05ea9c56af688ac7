"""Engines: what runs a student, one form per file."""
