"""Gates on heads and neurons, learned while a student trains: which of its parts it can do without."""
