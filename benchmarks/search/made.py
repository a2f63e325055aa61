"""Synthetic passages: vectors around centres, words by Zipf's law, and an index of them without a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.quality.scores import Vectors
from benchmarks.timing import Seconds, timed
from edge_embed.search import store
from edge_embed.search.coding import code
from edge_embed.search.database import Database
from edge_embed.search.meta import Meta, new_uuid, write_meta
from edge_embed.search.probes import TEXTS
from edge_embed.search.schema import connect, create_tables
from edge_embed.search.store import Passage, Source
from edge_embed.vectors import normalize

CENTRES, SPREAD, NEAR = 1000, 1.0, 0.5
VOCABULARY, WORDS, EXPONENT = 30_000, 80, 1.2  # words that there are, and that a passage has
FILE, CALL = 10, 1000  # passages of a file, and in one transaction
BLOCK = 10_000  # vectors that are made at a time


def make_vectors(count: int, dims: int) -> Iterator[Vectors]:
    """Yield unit vectors in clusters, `count` in all, block by block; the same ones every time."""
    centres = normalize(np.random.default_rng(0).standard_normal((CENTRES, dims), np.float32))
    for start in range(0, count, BLOCK):
        rng, rows = np.random.default_rng((0, start)), min(BLOCK, count - start)
        noise = rng.standard_normal((rows, dims), np.float32) * np.float32(SPREAD / np.sqrt(dims))
        yield normalize(centres[rng.integers(0, CENTRES, rows)] + noise)


def make_queries(count: int, vectors: Vectors) -> Vectors:
    """Return queries (count, dims) near some of the vectors."""
    rng = np.random.default_rng(2)
    own = vectors[rng.integers(0, len(vectors), count)]
    return normalize(own + rng.standard_normal(own.shape, np.float32) * np.float32(NEAR / np.sqrt(own.shape[1])))


def make_index(path: Path, blocks: Iterable[Vectors], dims: int) -> Seconds:
    """Write an index of vectors and random texts; return how long that took, the making of them left out."""
    rng = np.random.default_rng(1)
    database = open_new(path, dims)
    wall = cpu = 0.0
    first = 0

    def write(vectors: Vectors, passages: list[Passage]) -> None:
        coded = code(vectors)
        database.put(
            (
                Source(kind="file", key=f"/files/{first + n}.txt".encode(), time=0.0, size=0, mtime_ns=0),
                passages[n : n + FILE],
                coded[n : n + FILE],
            )
            for n in range(0, len(coded), FILE)
        )
        database.tidy()

    for block in blocks:
        for start in range(0, len(block), CALL):
            vectors = block[start : start + CALL]
            texts = make_texts(rng, len(vectors), WORDS)
            passages = [Passage(0, 0, n, f"{first + n} {text}") for n, text in enumerate(texts)]
            _, seconds = timed(lambda vectors=vectors, passages=passages: write(vectors, passages))  # type: ignore[misc]
            wall, cpu, first = wall + seconds.wall, cpu + seconds.cpu, first + len(vectors)
    database.close()
    return Seconds(wall, cpu)


def make_texts(rng: np.random.Generator, count: int, words: int) -> list[str]:
    """Return texts of random words, of which few are frequent and many are rare."""
    drawn = np.minimum(rng.zipf(EXPONENT, (count, words)) - 1, VOCABULARY - 1)
    known = [f"w{n}" for n in range(VOCABULARY)]
    return [" ".join(map(known.__getitem__, row)) for row in drawn.tolist()]


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
        probes=bytes(2 * len(TEXTS) * dims),
        reference=0.0,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    with store.writing(connection, str(path)):
        create_tables(connection)
        write_meta(connection, meta)
    return Database(str(path), connection, meta)
