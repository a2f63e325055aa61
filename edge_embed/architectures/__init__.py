"""What a model_type's config means."""
