"""Ways to train a teacher, one per file."""
