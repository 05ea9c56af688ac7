"""What is measured, one probe per file."""
