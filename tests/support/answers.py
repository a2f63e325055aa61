"""Answers that no model gave, for what turns them into bytes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from edge_embed.batching.computed import Computed, Timings
from edge_embed.pipeline.tokenizer import TokenCount
from edge_embed.server.ask import Answer, Card
from edge_embed.spec.model import ModelSpec

SPEC = ModelSpec(
    name="small",
    architecture="bert",
    dim=8,
    max_tokens=256,
    pooling="mean",
    normalize=True,
    prompts={"query": "Query: {text}", "document": "Document: {text}"},
    tasks={"retrieval": {"query": "query", "document": "document"}},
    task="retrieval",
    license="apache-2.0",
    fingerprint="f" * 32,
)
CARD = Card(name="small", spec=SPEC, level="onnx:int8", bytes=1234, created=1_700_000_000, loaded=True)
ROWS = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)


def answer(rows: ArrayLike = ROWS, errors: Mapping[int, Exception] | None = None) -> Answer:
    """Return an answer of vectors (n, dim), each of five tokens."""
    vectors = np.asarray(rows, np.float32).reshape(-1, 8)
    computed = Computed(
        vectors=vectors,
        counts=[TokenCount(tokens=5, cut=0)] * len(vectors),
        errors=errors or {},
        timings=Timings(tokenize=0.25, queue=0.5, compute=1.0),
    )
    return Answer(card=CARD, computed=computed, request_id="a-1")
