"""Synthetic passages: vectors around centres, words by Zipf's law, and an index of them without a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.quality.scores import Vectors
from edge_embed.search import space, store
from edge_embed.search.coding import code
from edge_embed.search.database import Database
from edge_embed.search.meta import Meta, new_uuid, write_meta
from edge_embed.search.schema import connect, create_tables
from edge_embed.search.store import Passage, Source
from edge_embed.vectors import normalize

CENTRES, SPREAD, NEAR = 1000, 1.0, 0.5
VOCABULARY, WORDS, EXPONENT = 30_000, 80, 1.2  # words that there are, and that a passage has
FILE, CALL = 10, 1000  # passages of a file, and in one transaction


def make_vectors(count: int, dims: int, queries: int) -> tuple[Vectors, Vectors]:
    """Return unit vectors (count, dims) in clusters, and queries near some of them."""
    rng = np.random.default_rng(0)
    centres = normalize(rng.standard_normal((CENTRES, dims), np.float32))
    noise = rng.standard_normal((count, dims), np.float32) * np.float32(SPREAD / np.sqrt(dims))
    vectors = normalize(centres[rng.integers(0, CENTRES, count)] + noise)
    own = vectors[rng.integers(0, count, queries)]
    near = normalize(own + rng.standard_normal(own.shape, np.float32) * np.float32(NEAR / np.sqrt(dims)))
    return vectors, near


def make_index(path: Path, vectors: Vectors, queries: int) -> tuple[Path, list[str]]:
    """Write an index of the vectors; return its path and queries of four words."""
    rng = np.random.default_rng(1)
    words = np.array([f"w{n}" for n in range(VOCABULARY)])
    database = open_new(path, vectors.shape[1])
    for start in range(0, len(vectors), CALL):
        coded = code(vectors[start : start + CALL])
        drawn = words[np.minimum(rng.zipf(EXPONENT, (len(coded), WORDS)) - 1, VOCABULARY - 1)]
        passages = [Passage(0, 0, n, f"{start + n} {' '.join(row)}") for n, row in enumerate(drawn)]
        files = range(0, len(coded), FILE)
        database.put(
            (
                Source(kind="file", key=f"/files/{start + n}.txt".encode(), time=0.0, size=0, mtime_ns=0),
                passages[n : n + FILE],
                coded[n : n + FILE],
            )
            for n in files
        )
        database.tidy()
    database.close()
    asked = words[np.minimum(rng.zipf(EXPONENT, (queries, 4)) - 1, VOCABULARY - 1)]
    return path, [" ".join(row) for row in asked]


def open_new(path: Path, dims: int) -> Database:
    """Make an index of no model."""
    connection, _ = connect(str(path), create=True)
    meta = Meta(
        uuid=new_uuid(),
        model="",
        task="",
        name="synthetic",
        fingerprint="",
        level="",
        dims=dims,
        chunk_tokens=256,
        chunker="",
        probes=bytes(2 * len(space.TEXTS) * dims),
        reference=0.0,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    with store.writing(connection, str(path)):
        create_tables(connection)
        write_meta(connection, meta)
    return Database(str(path), connection, meta)
