"""The spec of the fake backend's model: 16 dimensions, 24 tokens, prompts query, document and braces."""

from __future__ import annotations

from edge_embed import ModelSpec

SPEC = ModelSpec(
    name="fake",
    architecture="fake",
    dim=16,
    max_tokens=24,
    pooling="mean",
    normalize=True,
    matryoshka_dims=(8, 4),
    prompts={"query": "query: {text}", "document": "{text} .", "braces": "{{text}} {0}"},
)
