"""A reference -> a loaded, self-tested model."""
