"""Measured claims: scripts that make them, their files in results/, and the README's tables from those files."""
