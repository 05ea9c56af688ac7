"""Teachers: where they come from, how they are trained, what they say. `compress` reaches this through its steps."""
