"""A checkpoint's tensors: read, merged, smoothed."""
