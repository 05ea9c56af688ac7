"""What every floor of the house stands on; knows nothing above it."""
