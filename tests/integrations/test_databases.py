"""What docs/databases.md says of the kinds of vectors holds: each store ranks as the vectors themselves do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from edge_embed.vectors import Precision, quantize, similarity

from support.absent import TOLD

DIM = 40
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.standard_normal((50, DIM), dtype=np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
QUERY = ROWS[7] + 0.1 * ROWS[8]


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    sqlite_vec = pytest.importorskip("sqlite_vec", reason=TOLD)
    if not hasattr(sqlite3.Connection, "enable_load_extension"):
        pytest.skip("this Python's sqlite3 was built without extensions")
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.enable_load_extension(True)
        sqlite_vec.load(connection)
        yield connection


@pytest.mark.parametrize(
    ("column", "value", "precision", "metric"),
    [
        ("float[40] distance_metric=cosine", "?", "float32", "cosine"),
        ("int8[40] distance_metric=cosine", "vec_int8(?)", "int8", "cosine"),
        ("bit[40]", "vec_bit(?)", "ubinary", "hamming"),
    ],
)
def test_sqlite(database: sqlite3.Connection, column: str, value: str, precision: Precision, metric: Any) -> None:
    database.execute(f"CREATE VIRTUAL TABLE notes USING vec0(vector {column})")
    codes, query = quantize(ROWS, precision), quantize(QUERY, precision)
    for number, code in enumerate(codes):
        database.execute(f"INSERT INTO notes (rowid, vector) VALUES (?, {value})", (number, code.tobytes()))
    found = database.execute(
        f"SELECT rowid, distance FROM notes WHERE vector MATCH {value} AND k = 5", (query.tobytes(),)
    ).fetchall()
    scores = similarity(query, codes, metric)[0]
    distances = (1 - scores) * DIM / 2 if metric == "hamming" else 1 - scores
    assert found[0][0] == 7
    np.testing.assert_allclose([distance for _, distance in found], np.sort(distances)[:5], atol=1e-4)


def test_qdrant() -> None:
    qdrant = pytest.importorskip("qdrant_client", reason=TOLD)
    models = qdrant.models
    client = qdrant.QdrantClient(":memory:")
    client.create_collection("notes", models.VectorParams(size=DIM, distance=models.Distance.DOT))
    client.upload_collection("notes", ROWS, ids=range(len(ROWS)))
    found = client.query_points("notes", QUERY, limit=5).points
    scores = ROWS @ QUERY
    assert [point.id for point in found] == np.argsort(-scores)[:5].tolist()
    np.testing.assert_allclose([point.score for point in found], np.sort(scores)[:-6:-1], atol=1e-5)
    client.close()


def test_pgvectors_types() -> None:
    pgvector = pytest.importorskip("pgvector", reason=TOLD)
    bits = quantize(ROWS[0], "ubinary")
    written = "".join(map(str, np.unpackbits(bits)))
    assert pgvector.Bit(bits.tobytes()).to_text() == written
    assert pgvector.Bit(bits.tobytes()) == pgvector.Bit(ROWS[0] > 0)
    assert pgvector.Vector.from_text(str(ROWS[0].tolist())) == pgvector.Vector(ROWS[0])
    assert pgvector.HalfVector.from_text(str(ROWS[0].tolist())) == pgvector.HalfVector(ROWS[0])
