"""A reference, `user/repo` -> files in the cache."""
