"""Initialisations: how a student's weights start from its teacher's, one way per file."""
