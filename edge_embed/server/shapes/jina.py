"""Jina's embeddings API, which shares OpenAI's path: the fields by which it is known, and its errors."""

from __future__ import annotations

from typing import Any

from edge_embed.server.ask import Failure

FIELDS = {"task", "embedding_type", "normalized", "late_chunking", "return_multivector", "truncate"}


def detail(failure: Failure) -> dict[str, Any]:
    """Return a failure as Jina's clients read it."""
    return {
        "detail": {"message": failure.message, "request_id": failure.request_id, "code": failure.reason},
        "request_id": failure.request_id,
    }
