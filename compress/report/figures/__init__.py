"""The pictures of a report, one per file; each a function of the report that gives a chart, or None without data."""
