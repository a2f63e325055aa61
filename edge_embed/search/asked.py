"""What is asked for -> a vector: a text or an image, by the model or a service; a file of the index; or a vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError

from .coding import decode
from .database import Database
from .meta import Meta
from .remote import encode_query

Asked = str | Mapping[str, Any] | ArrayLike
Vector = NDArray[np.float32]


def query_vector(query: Asked, meta: Meta, model: Callable[[], Embedder], server: str | None) -> Vector:
    """Return a query's vector (dims,); `model` opens the model, which a vector and a `server` do without.

    Raises InputError for what is none of these, and of a server BackendError and SearchIndexError.
    """
    if server is not None:
        if not isinstance(query, str):
            raise InputError(f"server={server!r} embeds texts, got {type(query).__name__}")
        return encode_query(server, query, meta)
    if isinstance(query, str | Mapping):
        found: Vector = model().encode_query(query, truncate_dim=meta.dims, show_progress_bar=False)
        return found
    vector = np.asarray(query, np.float32)
    if vector.shape != (meta.dims,) or not np.isfinite(vector).all():
        raise InputError(f"the query has shape {vector.shape}, expected finite numbers ({meta.dims},)")
    return vector


def file_vector(database: Database, path: bytes) -> Vector | None:
    """Return the mean of a file's vectors (dims,); None where it has none in the index."""
    rows = database.rows(
        "SELECT v.scale, v.codes FROM vector AS v JOIN passage AS p ON p.id = v.id JOIN source AS s "
        "ON s.id = p.source WHERE s.kind = 'file' AND s.key = ?",
        path,
    )
    if not rows:
        return None
    mean: Vector = decode(rows, database.meta.dims).mean(axis=0)
    return mean
