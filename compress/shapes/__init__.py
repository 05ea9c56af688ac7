"""Models of shapes that stock classes cannot express: uneven layers and low-rank matrices, saved and loaded alike."""
