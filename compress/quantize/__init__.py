"""Int8 and friends, one method per file."""
