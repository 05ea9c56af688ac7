"""The verbs of teachers, one per file."""
