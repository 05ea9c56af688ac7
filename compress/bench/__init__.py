"""Measuring: each subject in a process of its own, blocks interleaved, intervals on every number."""
