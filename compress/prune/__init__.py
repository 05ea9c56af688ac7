"""Pruning that is real: parts are taken out of the weights, and the result is proven equal to the masked original."""
