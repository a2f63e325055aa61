"""Kills of an index that is being written, at random points: what is searched afterwards is right.

Whole sources only, their passages, vectors, signs and words in step; what was committed before the kill is there; a
search finds each of them, through a derived file that may be missing, older, newer or half written. A handful of kills
by default, with EDGE_EMBED_FAULTS as many as the time allows.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge_embed import Embedder, Index
from edge_embed.search import scan

from support.faults import long, seconds
from support.search import fake_model

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills by POSIX signals")
KILLS = 6
PIECES = 7  # passages of an item: a multiple of it is there, or an item is torn
TAIL = 40  # passages after which the columns are written anew, so that this happens all the time
# Adds, replaces and removes items for ever, and prints what each committed call did, once it is committed.
WRITER = """
import random, sys
from pathlib import Path
import numpy as np
sys.path[:0] = sys.argv[4:]
from support.search import fake_model
from edge_embed import Index
from edge_embed.search import scan
from edge_embed.search.coding import code
from edge_embed.search.store import Passage, Source

scan.TAIL = int(sys.argv[3])
draw = random.Random(sys.argv[2])

def vectors(name, version):
    return np.random.default_rng([name, version]).standard_normal((7, 64)).astype(np.float32)

with Index.open(sys.argv[1], fake_model(Path(sys.argv[2]))) as index:
    version = int(index._database.rows("SELECT coalesce(max(id), 0) FROM passage")[0][0])
    print("ready", flush=True)
    while True:
        version += 1
        names = draw.sample(range(60), draw.randint(1, 5))
        if draw.random() < 0.3:
            index.remove(names)
            print("removed", *names, flush=True)
            continue
        entries = []
        for name in names:
            pieces = [Passage(n, n + 1, None, f"name{name} version{version} piece{n}") for n in range(7)]
            source = Source(kind="item", key=str(name).encode(), time=0.0)
            entries.append((source, pieces, code(vectors(name, version))))
        index._database.put(entries)
        index._database.tidy()
        print("put", version, *names, flush=True)
"""


def vectors(name: int, version: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng([name, version]).standard_normal((7, 64)).astype(np.float32)


def kill(path: Path, tokenizer: Path, wait: float) -> list[list[str]]:
    """Let the writer write for so long, kill it, and return the calls that it saw committed."""
    roots = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    words = [sys.executable, "-c", WRITER, str(path), str(tokenizer), str(TAIL), *roots]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        lines = child.stdout.read().split("\n")
    return [line.split() for line in lines[:-1]]  # the last one was not ended


def check(path: Path, model: Embedder, known: dict[int, int], calls: list[list[str]]) -> dict[int, int]:
    """Compare the index with what was committed, search for all of it, and return what there is."""
    for what, *numbers in calls:
        first, *names = map(int, numbers)
        if what == "put":
            known |= dict.fromkeys(names, first)
        else:
            known = {name: version for name, version in known.items() if name not in (first, *names)}
    with Index.open(path, model) as index:
        rows = index._database.rows("SELECT s.key, p.text FROM source AS s JOIN passage AS p ON p.source = s.id")
        found: dict[int, list[int]] = {}
        for key, text in rows:
            name, version, _ = (int(word.lstrip("namevrsiopc")) for word in text.split())
            assert int(key) == name
            found.setdefault(name, []).append(version)
        assert all(len(versions) == PIECES and len({*versions}) == 1 for versions in found.values())
        there = {name: versions[0] for name, versions in found.items()}
        changed = {name for name in {*there, *known} if there.get(name) != known.get(name)}
        assert len(changed) <= 5, changed  # one call may be committed and not yet told
        for name, version in there.items():
            piece = name % PIECES
            (hit, *_) = index.search(vectors(name, version)[piece], top=1, least=-1)
            assert hit.text == f"name{name} version{version} piece{piece}"
        for name in range(60):
            exact = [hit for hit in index.search(f"name{name} version", top=20, least=-1) if hit.literal]
            assert {hit.id for hit in exact} == ({str(name)} if name in there else set())
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    for table, column in (("vector", "codes"), ("sign", "bits")):
        joined = f"SELECT count(*) FROM passage FULL JOIN {table} USING (id)"
        assert connection.execute(f"{joined} WHERE passage.text IS NULL OR {column} IS NULL").fetchone() == (0,)
    connection.close()
    return there


def test_every_search_after_a_kill_is_right(
    tiny_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "TAIL", TAIL)
    model, path = fake_model(tiny_tokenizer), tmp_path / "i.db"
    draw = random.Random(None if long() else 7)
    until = time.monotonic() + seconds(1 / 12)
    known: dict[int, int] = {}
    kills = committed = 0
    while kills < KILLS or (long() and time.monotonic() < until):
        calls = kill(path, tiny_tokenizer, draw.random() * 0.3)
        known = check(path, model, known, calls)
        kills, committed = kills + 1, committed + len(calls)
        if draw.random() < 0.2:
            Path(f"{path}-bits").unlink(missing_ok=True)
    print(f"{kills} kills, {committed} calls committed")
    assert committed
