"""The page of a report: markup, style and the script that sorts its table."""
