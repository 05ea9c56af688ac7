"""The objective: losses with their layer maps and projections."""
