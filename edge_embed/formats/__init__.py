"""A file's header: what it says of itself, no weight read."""
