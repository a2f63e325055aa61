"""Jobs: files in, vectors out; the same bytes however they are run, on a full disk too."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_embed import Embedder
from edge_embed.cli.main import main
from edge_embed.device.background import Background
from edge_embed.jobs import run
from edge_embed.jobs.status import verify

from support.jobs import digest, texts, write_jsonl

LINES = texts(60)


def test_vectors_and_rows_in_order(quick: str, lines: Path, tmp_path: Path, expected: np.ndarray) -> None:
    done = run(lines, tmp_path / "out", model=quick, rows=16)
    assert (done.rows, done.vectors, done.rejected, done.missing) == (60, 60, 0, 0)
    assert done.computed < 60  # some occur twice in a chunk
    vectors = np.load(tmp_path / "out" / "vectors.npy", mmap_mode="r")
    assert (vectors == expected).all()
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert rows == [{"file": "in.jsonl", "line": n + 1, "id": f"n{n}"} for n in range(60)]
    assert (np.load(tmp_path / "out" / "parts" / "part-00000001.npy") == expected[16:32]).all()
    again = run(lines, tmp_path / "out", model=quick, rows=16)
    assert (again.computed, again.vectors) == (0, 60)


def test_the_same_bytes_however_it_is_run(
    quick: str, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(Background, "wait", lambda self: asked.append(True))
    plain = run(lines, tmp_path / "plain", model=quick, rows=8)
    assert plain.vectors == 60
    hashes = {digest(tmp_path / "plain")}
    run(lines, tmp_path / "apart", model=quick, rows=8, dedupe=False)
    run(lines, tmp_path / "two", model=quick, rows=8, processes=2)
    run(lines, tmp_path / "cached", model=quick, rows=8, cache=tmp_path / "cache")
    assert not asked
    run(lines, tmp_path / "background", model=quick, rows=8, workload="background", battery_below=0)
    assert len(asked) >= 8  # before each batch, of which a part has one at least
    second = run(lines, tmp_path / "from-cache", model=quick, rows=8, cache=tmp_path / "cache")
    assert second.computed == 0
    first = run(lines, tmp_path / "shards", model=quick, rows=8, shard=(1, 2))
    assert first.missing == 4
    assert not first.files
    assert run(lines, tmp_path / "shards", model=quick, rows=8, shard=(0, 2)).files
    copied = shutil.copy(lines, tmp_path / "elsewhere")  # another place of the same file on another machine
    (tmp_path / "moved").mkdir()
    moved = shutil.move(copied, tmp_path / "moved" / "in.jsonl")
    run(moved, tmp_path / "other-place", model=quick, rows=8)
    names = ("apart", "two", "cached", "background", "from-cache", "shards", "other-place")
    hashes |= {digest(tmp_path / name) for name in names}
    assert len(hashes) == 1
    assert verify(tmp_path / "two").vectors == 60


@pytest.mark.parametrize("precision", ["float32", "int8", "ubinary"])
@pytest.mark.parametrize("format", ["npy", "jsonl", "sqlite"])
def test_formats(quick: str, lines: Path, tmp_path: Path, format: str, precision: str) -> None:
    done = run(lines, tmp_path / "out", model=quick, format=format, precision=precision)  # type: ignore[arg-type]
    with Embedder(quick) as model:
        wanted = model.encode(LINES, precision=precision)  # type: ignore[arg-type]
    if format == "npy":
        assert (np.load(done.files[-1]) == wanted).all()
    elif format == "jsonl":
        rows = [json.loads(line) for line in done.files[0].read_text().splitlines()]
        assert (np.array([row["embedding"] for row in rows], wanted.dtype) == wanted).all()
        assert [row["id"] for row in rows] == [f"n{n}" for n in range(60)]
    else:
        import sqlite3

        with sqlite3.connect(done.files[0]) as base:
            found = base.execute("SELECT id, data FROM vector ORDER BY rowid").fetchall()
        base.close()
        assert found[3][0] == "n3"
        assert (np.frombuffer(b"".join(data for _, data in found), wanted.dtype).reshape(wanted.shape) == wanted).all()


def test_passages(quick: str, tmp_path: Path) -> None:
    text = " ".join(f"word{n}" for n in range(40))
    path = write_jsonl(tmp_path / "in.jsonl", [text, "short", ""])
    run(path, tmp_path / "out", model=quick, chunk_tokens=30, overlap=10)
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    cut = [row for row in rows if row["id"] == "n0"]
    assert [(row["start"], row["stop"]) for row in rows[len(cut) :]] == [(0, 5), (0, 0)]
    assert cut[0]["start"] == 0
    assert cut[-1]["stop"] == len(text)
    for before, after in itertools.pairwise(cut):
        assert before["start"] < after["start"] < before["stop"] < after["stop"]
        assert text[before["stop"]] == " "
    vectors = np.load(tmp_path / "out" / "vectors.npy")
    with Embedder(quick) as model:
        assert (vectors == model.encode([*(text[one["start"] : one["stop"]] for one in cut), "short", ""])).all()


LIMITED = """
import resource, sys
from edge_embed.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


def test_a_disk_that_is_full(quick: str, lines: Path, tmp_path: Path) -> None:
    """A limit of the size of files stands in for it."""
    run(lines, tmp_path / "whole", model=quick, rows=30)
    words = ["run", str(lines), "--out", str(tmp_path / "out"), "--model", quick, "--rows", "30", "--progress", "none"]
    done = subprocess.run([sys.executable, "-c", LIMITED, "1500", *words], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"cannot write .*part-00000000.npy: File too large", done.stderr)
    assert not [path for path in (tmp_path / "out" / "parts").iterdir() if path.suffix != ".partial"]
    assert main(words) == 0
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")
