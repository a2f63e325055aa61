"""Tables of token vectors, mapped from disk: a text's vector is the mean of its tokens', which see no others.

model2vec: https://github.com/MinishLab/model2vec; sentence-transformers' StaticEmbedding.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends import Batch, Rows, TextBackend, check_no_adapters
from edge_embed.errors import BackendError, CorruptModelError, UnsupportedModelError
from edge_embed.formats.safetensors import map_tensors
from edge_embed.formats.static_table import MAPPING, TOKEN_WEIGHTS, table_of
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

TOKENS_AT_ONCE = 8192  # of which rows are copied; a longer text is added up part by part


class StaticBackend:
    """One table, and for some models which row and which weight each token has."""

    engine = f"numpy {np.__version__}"

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        self._lock = threading.Lock()
        self._path = path
        tensors = map_tensors(path)
        table = table_of(tensors)
        if table is None or table.ndim != 2 or table.shape[1] != spec.width:
            has = "none" if table is None else f"one of shape {table.shape}"
            raise CorruptModelError(f"{path} should hold a table of {spec.width} numbers a token, and holds {has}")
        rows, weights = tensors.get(MAPPING), tensors.get(TOKEN_WEIGHTS)
        self._table: NDArray[Any] | None = table
        self._rows = None if rows is None else np.array(rows, np.int64)
        self._weights = None if weights is None else np.array(weights, np.float32)
        self._words = len(table) if self._rows is None else len(self._rows)
        self._check()

    def _check(self) -> None:
        """Refuse rows and weights that do not belong to the table."""
        assert self._table is not None
        rows, weights = self._rows, self._weights
        if rows is not None and (rows.ndim != 1 or not len(rows) or rows.min() < 0 or rows.max() >= len(self._table)):
            raise CorruptModelError(f"{self._path}: {MAPPING!r} names rows that the table of {len(self._table)} lacks")
        if weights is not None and (weights.shape != (self._words,) or not np.isfinite(weights).all()):
            raise CorruptModelError(f"{self._path}: {TOKEN_WEIGHTS!r} is no list of {self._words} finite numbers")

    def forward(self, batch: Batch) -> list[Rows]:
        """Return for each text one row, the mean; 0 for a text without tokens."""
        with self._lock:
            table = self._table
        if table is None:
            raise BackendError("this model was closed")
        lengths = np.array([len(ids) for ids in batch.ids])
        out = np.zeros((len(lengths), table.shape[1]), np.float32)
        if lengths.sum() > TOKENS_AT_ONCE:
            for row, ids in zip(out, batch.ids, strict=True):
                parts = (ids[start : start + TOKENS_AT_ONCE] for start in range(0, len(ids), TOKENS_AT_ONCE))
                row += sum(self._read(table, part).sum(axis=0, dtype=np.float64) for part in parts)
        elif filled := np.flatnonzero(lengths).tolist():
            found = self._read(table, np.concatenate(batch.ids))
            starts = (lengths.cumsum() - lengths)[filled]
            out[filled] = np.add.reduceat(found, starts, axis=0)
        out /= np.maximum(lengths, 1)[:, None]
        return [*out[:, None]]

    def _read(self, table: NDArray[Any], ids: NDArray[np.int32]) -> Rows:
        """Return the rows of tokens, float32, weighted."""
        if (highest := int(ids.max())) >= self._words or ids.min() < 0:
            raise CorruptModelError(
                f"tokenizer.json gives the id {highest}, {self._path} has {self._words} words: they belong to "
                "different models"
            )
        found: Rows = table[ids if self._rows is None else self._rows[ids]].astype(np.float32, copy=False)
        return found if self._weights is None else found * self._weights[ids, None]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._table = None


def load(
    folder: Path,
    spec: ModelSpec,
    weights: Weights,
    threads: int,
    adapters: Mapping[str, Path] = MappingProxyType({}),
) -> TextBackend:
    """Map the table; raise UnsupportedModelError for a pooling that is not what such a model was trained for."""
    check_no_adapters(adapters, weights)
    if spec.pooling != "mean" or not spec.include_prompt:
        asked = f"pooling={spec.pooling!r}" if spec.include_prompt else "include_prompt=False"
        raise UnsupportedModelError(f"{spec.name} is a table of token vectors, of which it takes the mean, not {asked}")
    return StaticBackend(folder / weights.files[0].path, spec)


def load_images(folder: Path, spec: ModelSpec, weights: Weights, threads: int) -> NoReturn:
    """Raise UnsupportedModelError: such models take texts alone."""
    raise UnsupportedModelError(f"{folder}: {weights.name} is an image part, and tables of token vectors have none")
