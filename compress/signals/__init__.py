"""Stored signals: what a teacher said about rows, found again by the rows' content."""
