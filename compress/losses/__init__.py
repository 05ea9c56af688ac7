"""Distillation losses, one per file; each a pure function of two traces."""
