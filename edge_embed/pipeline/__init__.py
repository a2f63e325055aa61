"""Text -> vector, step by step."""
