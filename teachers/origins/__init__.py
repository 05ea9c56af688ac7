"""Where a teacher's body comes from, one way per file."""
