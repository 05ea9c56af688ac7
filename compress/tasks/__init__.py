"""Tasks: what is predicted, one per file."""
