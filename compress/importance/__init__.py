"""How much of a model hangs on each of its heads, neurons, hidden units, layers and weights: one criterion per file."""
