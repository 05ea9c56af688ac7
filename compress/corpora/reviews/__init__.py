"""A generator of review sentences whose label depends on how the sentence is put together."""
