"""The service under load, beside others that serve the same model."""
