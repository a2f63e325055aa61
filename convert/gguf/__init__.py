"""A checkpoint -> GGUF files."""
