"""A folder as the hub's tools expect it, whole or not at all."""
