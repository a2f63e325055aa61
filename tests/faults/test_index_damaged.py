"""Damaged and hostile index files: an error of ours or an answer, within limits of time and memory."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import pytest

from edge_embed import EdgeEmbedError, Index
from edge_embed.search import scan

from support.faults import long, seconds
from support.limited import run_limited
from support.search import fake_model

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
PAGE = 4096
VALUES = (
    None,
    -1,
    0,
    1 << 62,
    1.5,
    float("inf"),
    "",
    "text",
    "{",
    "[1]",
    '"x"',
    "\ud7ff" * 9,
    b"",
    b"\xff\xfe",
    b"x" * 64,
)
COLUMNS = {
    "meta": ("value",),
    "source": ("kind", "key", "size", "mtime_ns", "digest", "time", "unit", "fault", "metadata"),
    "passage": ("source", "start", "stop", "place", "text"),
    "vector": ("scale", "codes"),
    "sign": ("bits",),
    "root": ("path",),
}


def test_damaged_files(tiny_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "TAIL", 20)
    model = fake_model(tiny_tokenizer)
    path = tmp_path / "i.db"
    with Index.open(path, model) as index:
        index.add({"id": n, "text": f"text number {n}", "metadata": {"n": n}} for n in range(60))
        index.remove(range(5))
        index.compact()
        index.add([{"id": "new", "text": "one more"}])
    whole, derived = path.read_bytes(), Path(f"{path}-bits").read_bytes()
    seed = random.randrange(1 << 30) if long() else 3

    def attempt(n: int) -> str | None:
        draw = random.Random(seed + n)
        for left in tmp_path.glob("i.db-*"):
            left.unlink()
        spoil(draw, whole, derived, path)
        try:
            use(Index.open(path, model))
        except EdgeEmbedError:
            return None
        return None

    tried, faults = run_limited(attempt, seconds(1 / 12), tmp_path / "note")
    print(f"{tried} damaged files")
    assert not faults, "\n".join(faults)
    assert tried > 20


def use(index: Index) -> None:
    """Do with an index whatever can be done."""
    with index:
        for query in ("text number 7", "one more"):
            index.search(query, least=-1, top=100)
            index.search(query, where={"n": 7}, since="2020-01-01", least=-1)
        index.status()
        index.add([{"id": 8, "text": "another"}])
        index.remove([9])
        index.search("another")
        index.compact()


def spoil(draw: random.Random, whole: bytes, derived: bytes, path: Path) -> None:
    """Write a damaged index: values of other types, bytes that are changed, cut or repeated, in either file."""
    kind = draw.choice(("values", "bytes", "cut", "derived"))
    data = bytearray(whole)
    if kind == "bytes":
        for _ in range(draw.randint(1, 40)):
            data[draw.randrange(len(data))] = draw.randrange(256)
    if kind == "cut":
        at = draw.randrange(len(data))
        data = data[:at] if draw.random() < 0.5 else data[: at // PAGE * PAGE] + data[draw.randrange(len(data)) :]
    path.write_bytes(data)
    rest = bytearray(derived)
    if kind == "derived":
        for _ in range(draw.randint(1, 9)):
            rest[draw.randrange(len(rest) if draw.random() < 0.5 else 80)] = draw.randrange(256)
        rest = rest[: draw.randrange(len(rest))] if draw.random() < 0.3 else rest
    Path(f"{path}-bits").write_bytes(rest)
    if kind == "values":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for _ in range(draw.randint(1, 3)):
            table = draw.choice([*COLUMNS])
            column, value = draw.choice(COLUMNS[table]), draw.choice(VALUES)
            order = "ORDER BY random() LIMIT 3"
            key = "key" if table == "meta" else "path" if table == "root" else "id"
            query = f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {key} IN (SELECT {key} FROM {table} {order})"
            try:
                connection.execute(query, (value,))
            except sqlite3.IntegrityError:  # a column that takes no null, or none of this type
                continue
        connection.commit()
        connection.close()
