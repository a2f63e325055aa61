"""Indexes on the fake model, whose tokens are letters: what the files say is found by their letters."""

from __future__ import annotations

import importlib.util

import pytest

from edge_embed import Embedder, ModelSpec
from edge_embed.backends.fake import FakeBackend
from edge_embed.pipeline.tokenizer import TextTokenizer

SPEC = ModelSpec(
    name="fake",
    architecture="fake",
    dim=64,
    max_tokens=128,
    pooling="mean",
    normalize=True,
    matryoshka_dims=(32, 16),
    prompts={"query": "query: {text}", "document": "{text} ."},
    fingerprint="0" * 32,
)
splitting = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("semantic_text_splitter", "pathspec")),
    reason="the extra `search` is not installed: pip install 'edge-embed[search]'",
)


def fake_model(tokenizer: object, **changed: object) -> Embedder:
    """Return an Embedder whose rows depend on letters alone; `changed` are values of its spec."""
    spec = ModelSpec(**{**{key: getattr(SPEC, key) for key in SPEC.__dataclass_fields__}, **changed})  # type: ignore[arg-type]
    return Embedder.from_parts(spec, TextTokenizer(tokenizer, spec.max_tokens), FakeBackend(spec.dim))  # type: ignore[arg-type]
