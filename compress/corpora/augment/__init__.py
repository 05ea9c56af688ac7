"""Augmentation: new texts made from the training texts, one method a file."""
