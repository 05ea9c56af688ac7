"""Other forms of a float student, one format per file."""
