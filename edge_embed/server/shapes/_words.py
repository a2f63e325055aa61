"""Words of many APIs for the same things: which side a text is, how it is cut, what a vector is written as."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from edge_embed.pipeline.tokenizer import Truncation
from edge_embed.spec.model import Side
from edge_embed.vectors import Array, Precision

from ._common import as_base64, packed, pick

# What Cohere, Voyage, Google and Jina call them -> purpose and side; None is as the model says.
INPUT_TYPES: Mapping[str | None, tuple[str | None, Side | None]] = {
    None: (None, None),
    "query": ("retrieval", "query"),
    "search_query": ("retrieval", "query"),
    "document": ("retrieval", "document"),
    "passage": ("retrieval", "document"),
    "search_document": ("retrieval", "document"),
    "RETRIEVAL_QUERY": ("retrieval", "query"),
    "QUESTION_ANSWERING": ("retrieval", "query"),
    "FACT_VERIFICATION": ("retrieval", "query"),
    "CODE_RETRIEVAL_QUERY": ("retrieval", "query"),
    "RETRIEVAL_DOCUMENT": ("retrieval", "document"),
    "classification": ("classification", None),
    "CLASSIFICATION": ("classification", None),
    "clustering": ("clustering", None),
    "CLUSTERING": ("clustering", None),
    "SEMANTIC_SIMILARITY": ("text-matching", None),
    "image": (None, None),
    "TASK_TYPE_UNSPECIFIED": (None, None),
}
PRECISIONS: Mapping[str | None, Precision] = {
    None: "float32",
    "float": "float32",
    "float32": "float32",
    "int8": "int8",
    "uint8": "uint8",
    "binary": "binary",
    "ubinary": "ubinary",
}
TRUNCATIONS: Mapping[Any, Truncation] = {
    None: "end",
    True: "end",
    False: "error",
    "END": "end",
    "START": "start",
    "NONE": "error",
    "end": "end",
    "start": "start",
    "none": "error",
}


@dataclass(frozen=True)
class Encoding:
    """How vectors are written: at a precision, as numbers or as base64 of their bytes."""

    precision: Precision = "float32"
    base64: bool = False

    def write(self, vectors: Array, failed: Container[int] = ()) -> list[Any]:
        """Return a value for each vector (n, dim), for JSON; None for those that failed."""
        rows = packed(vectors, self.precision)
        values = (as_base64(row) if self.base64 else row for row in rows)
        return [None if n in failed else value for n, value in enumerate(values)]


def encoding(
    format: str | None, type: str | None = None, dtype: str | None = None, field: str = "encoding_format"
) -> Encoding:
    """Read OpenAI's `encoding_format`, Jina's `embedding_type` and Voyage's `output_dtype` together."""
    words = {"output_dtype": dtype, "embedding_type": type, field: format}
    named = [pick(word, PRECISIONS, name) for name, word in words.items() if word not in (None, "base64")]
    return Encoding(next(iter(named), "float32"), "base64" in words.values())
