"""Places that a training's curves can be sent to, one per file."""
