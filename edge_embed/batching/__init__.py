"""Many callers, one engine: whose texts are computed next, and the Embedder that can be awaited."""
