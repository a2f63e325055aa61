"""A checkpoint -> MLX weights."""
