"""Voyage's embeddings API, which shares OpenAI's path: the fields by which it is known, and its errors."""

from __future__ import annotations

from typing import Any

from edge_embed.server.ask import Failure

FIELDS = {"input_type", "truncation", "output_dimension"}


def detail(failure: Failure) -> dict[str, Any]:
    """Return a failure as Voyage's clients read it: they take `detail` for a text."""
    return {"detail": failure.message}
