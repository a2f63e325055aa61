"""Jobs: files in, vectors out; the same bytes however they are run; what is refused, and what is rejected."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_embed import Embedder, InputError, TruncationWarning
from edge_embed.backends.fake import FakeBackend, FakeImageBackend
from edge_embed.cli.main import main
from edge_embed.device.background import Background
from edge_embed.errors import CorruptModelError
from edge_embed.jobs import opened as opened_job
from edge_embed.jobs import run, start
from edge_embed.jobs.settings import parse_shard, parse_share
from edge_embed.jobs.status import status, verify
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.spec.image import ImageSpec

from support.fake import SPEC
from support.jobs import digest, texts, write_jsonl

LINES = texts(60)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "in.jsonl", LINES)


@pytest.fixture(scope="module")
def expected(quick: str) -> np.ndarray:
    with Embedder(quick) as model:
        return model.encode(LINES)


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


def test_kinds_of_input(quick: str, tmp_path: Path, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("\ufeff" + "\n".join(LINES))
    (folder / "b.csv").write_text("text,id\n" + "".join(f'"{text}",{n}\n' for n, text in enumerate(LINES)))
    (folder / "c.tsv").write_text("id\ttext\r\n" + "".join(f"{n}\t{text}\r\n" for n, text in enumerate(LINES)))
    with gzip.open(folder / "d.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in LINES)
    for path in sorted(folder.iterdir()):
        done = run(path, tmp_path / f"out-{path.name}", model=quick, rows=7)
        assert (np.load(done.files[-1]) == expected).all(), path
    run(f"{folder}/*.[ct]sv", tmp_path / "glob", model=quick)
    assert np.load(tmp_path / "glob" / "vectors.npy").shape == (120, 12)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO("\n".join(LINES).encode()), isatty=bool))
    run("-", tmp_path / "piped", model=quick)
    assert (np.load(tmp_path / "piped" / "vectors.npy") == expected).all()
    assert main(["run", "--out", str(tmp_path / "piped"), "--progress", "none"]) == 0  # goes on without the pipe


def test_a_folder_of_documents(quick: str, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.md").write_text("tea\nand more")
    (folder / "deep" / "b.txt").write_bytes(b"caf\xe9")
    (folder / "c.bin").write_bytes(b"\0")
    done = run(folder, tmp_path / "out", model=quick)
    assert (done.vectors, done.rejected) == (1, 1)
    (row,) = (json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines())
    assert row == {"file": "notes", "line": 1, "id": "a.md"}
    (folder / "a.md").write_text("tea\nand less")
    (tmp_path / "out" / "parts" / "part-00000000.npy").unlink()
    with pytest.raises(InputError, match="was changed since the job began"):
        run(folder, tmp_path / "out", model=quick)
    (folder / "d.md").write_text("new")
    with pytest.raises(InputError, match=r"inputs\[notes\].bytes: 16 then, 19 now"):
        run(folder, tmp_path / "out", model=quick)


def test_rejected_rows(quick: str, tmp_path: Path) -> None:
    lines = [
        *(b'{"text": "good", "id": 1}', b'{"text": 5, "id": [2]}', b'{"id": 3}', b"[1]", b'{"text": "caf\xe9"}'),
        *(b'{"text": "lone \\ud800"}', b'{"text": "a\\u0000b"}', b"{", b'{"text": "' + b"x" * (17 << 20) + b'"}'),
        b'{"text": "last"}',
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    done = run(tmp_path / "in.jsonl", tmp_path / "out", model=quick)
    assert (done.vectors, done.rejected) == (2, 8)
    (path,) = (tmp_path / "out" / "parts").glob("*.rejected.jsonl")
    told = [json.loads(line) for line in path.read_text().splitlines()]
    reasons = ["not-text", "missing", "json", "encoding", "refused", "refused", "json", "too-long"]
    assert [one["reason"] for one in told] == reasons
    assert [one["line"] for one in told] == [2, 3, 4, 5, 6, 7, 8, 9]
    data = b"\n".join(lines)
    assert all(data[one["offset"] :].startswith(lines[one["line"] - 1]) for one in told)
    assert "input" not in told[0]
    assert main(["run", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out2"), "--model", quick]) == 3
    with pytest.raises(InputError, match="8 rows of 10 were rejected, more than the 2 that are allowed"):
        run(tmp_path / "in.jsonl", tmp_path / "out3", model=quick, max_rejected=2)
    run(tmp_path / "in.jsonl", tmp_path / "out4", model=quick, with_text=True)
    (path,) = (tmp_path / "out4" / "parts").glob("*.rejected.jsonl")
    assert json.loads(path.read_text().splitlines()[4])["input"] == "lone \ud800"


def test_columns(quick: str, tmp_path: Path) -> None:
    table = tmp_path / "in.csv"
    table.write_text('name,body\none,"two\nlines"\nbad\nthree,"x"y\nfour,z\n')
    with pytest.raises(InputError, match=r"no column 'text': it has 'body', 'name'; name the one with texts"):
        run(table, tmp_path / "out", model=quick)
    with pytest.raises(InputError, match="no column 'nr'"):
        run(table, tmp_path / "out", model=quick, column="body", id_column="nr")
    done = run(table, tmp_path / "out", model=quick, column="body", id_column="name", rows=1)
    assert (done.rows, done.vectors) == (4, 2)
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert [(row["id"], row["line"]) for row in rows] == [("one", 2), ("four", 6)]
    lines = write_jsonl(tmp_path / "in.jsonl", ["a"])
    with pytest.raises(InputError, match=r"no column 'body': its first object has 'id', 'text'"):
        run(lines, tmp_path / "out2", model=quick, column="body")
    (tmp_path / "in.txt").write_text("a")
    with pytest.raises(InputError, match="has lines and no columns"):
        run(tmp_path / "in.txt", tmp_path / "out2", model=quick, column="body")


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


def test_cut_texts_are_told(converted: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "in.jsonl", ["tea " * 300, "short"])
    with pytest.warns(TruncationWarning, match="1 texts were cut to 256 tokens"):
        run(path, tmp_path / "out", model=f"{converted}:int8")
    done = run(path, tmp_path / "strict", model=f"{converted}:int8", truncation="error")
    assert done.rejected == 1
    (told,) = (tmp_path / "strict" / "parts").glob("*.rejected.jsonl")
    row = json.loads(told.read_text())
    assert (row["reason"], row["message"][:14]) == ("too-many-tokens", "has 302 tokens")
    with pytest.raises(
        InputError, match="takes 256 tokens, of which the prompt and its own take 2: ask for 254 or less"
    ):
        run(path, tmp_path / "long", model=f"{converted}:int8", chunk_tokens=255)


def test_another_job_is_refused(quick: str, lines: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(lines, out, model=quick)
    with pytest.raises(InputError, match=r"holds another job.*\n  options.dim: None then, 4 now"):
        run(lines, out, model=quick, truncate_dim=4)
    other = write_jsonl(tmp_path / "other.jsonl", LINES)
    with pytest.raises(InputError, match=r"inputs: 1 then, 2 now"):
        run([lines, other], out, model=quick)
    lines.write_text(lines.read_text().replace("tea", "pea"))
    with pytest.raises(InputError, match=r"inputs\[in.jsonl\].sha256"):
        run(lines, out, model=quick)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").touch()
    with pytest.raises(InputError, match=r"holds 'thesis.doc' and no job"):
        run(lines, tmp_path / "full", model=quick)


def test_what_cannot_be_run(quick: str, lines: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"processes": 0}, "must be at least 1"),
        ({"shard": (2, 2)}, "choose from 0/2 to 1/2"),
        ({"overlap": 3}, "needs chunk_tokens"),
        ({"chunk_tokens": 3, "overlap": 3}, "must be less"),
        ({"format": "xml"}, "choose from"),
        ({"rows": 0}, "must be at least 1"),
        ({"batch_tokens": 0}, "must be at least 1"),
        ({"workload": "night"}, "unknown workload"),
        ({"battery_below": -1}, "battery_below=-1 must be from 0"),
        ({"truncate_dim": 99}, "99"),
    ):
        with pytest.raises(InputError, match=message):
            run(lines, tmp_path / "out", model=quick, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="matches no file"):
        run(f"{tmp_path}/*.nothing", tmp_path / "out", model=quick)
    with pytest.raises(InputError, match="no such file"):
        run(tmp_path / "nothing.txt", tmp_path / "out", model=quick)
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InputError, match=r"write its objects one a line"):
        run(tmp_path / "a.json", tmp_path / "out", model=quick)
    (tmp_path / "wide.txt").write_bytes("tea".encode("utf-16"))
    with pytest.raises(InputError, match="is UTF-16"):
        run(tmp_path / "wide.txt", tmp_path / "out", model=quick)
    with gzip.open(tmp_path / "cut.txt.gz", "wt") as file:
        file.writelines(f"{text}\n" for text in LINES)
    data = (tmp_path / "cut.txt.gz").read_bytes()
    (tmp_path / "cut.txt.gz").write_bytes(data[:-20])
    with pytest.raises(InputError, match="is cut short or damaged"):
        run(tmp_path / "cut.txt.gz", tmp_path / "out", model=quick)
    with pytest.raises(InputError, match="no inputs, and no job"):
        run([], tmp_path / "out", model=quick)
    assert main(["run", "x", "--model", quick]) == 1
    assert not (tmp_path / "out" / "job.json").exists()


def test_status_and_verify(quick: str, lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    run(lines, out, model=quick, rows=16, shard=(0, 2))
    assert (status(out).parts, status(out).all_parts, status(out).rows) == (2, 4, 32)
    assert main(["run", "--status", str(out)]) == 0
    assert "2 of 4 parts: 32 of 60 rows (53.3%), 32 vectors, 0 rejected" in capsys.readouterr().out
    with pytest.raises(CorruptModelError, match=r"2 of 4 parts .* missing(.|\n)*part-00000001.npy is missing"):
        verify(out)
    run(lines, out, model=quick, rows=16)
    assert main(["verify", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vectors"] == 60
    path = out / "parts" / "part-00000002.npy"
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    assert main(["verify", str(out)]) == 1
    assert "part-00000002.npy is damaged" in capsys.readouterr().err
    path.unlink()
    assert main(["run", "--out", str(out), "--json", "--progress", "json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["vectors"] == 60
    assert json.loads(told.err.splitlines()[-1])["rows"] == 60
    assert main(["verify", str(out)]) == 0
    with pytest.raises(InputError, match="is no job's folder"):
        status(tmp_path)


def test_words_of_the_command_line() -> None:
    assert parse_shard("3/8") == (3, 8)
    assert parse_share("1%") == 0.01
    assert parse_share("20") == 20
    for word in ("a", "1/0", "-1/2"):
        with pytest.raises(InputError, match="expected I/N"):
            parse_shard(word)
    for word in ("x", "101%", "1.5"):
        with pytest.raises(InputError, match="a number of rows, or a share"):
            parse_share(word)


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


def test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_tokenizer: Path) -> None:
    """A folder of images, of which one is damaged, with a model that takes them; JSON lines that name them."""
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(6):
        Image.new("RGB", (40, 30), (40 * n, 9, 9)).save(folder / f"{n}.png")
    (folder / "bad.png").write_bytes(b"no image")
    parts = FakeBackend(SPEC.dim), FakeImageBackend(SPEC.dim)
    spec = replace(SPEC, image=ImageSpec(size=(32, 32)))

    def opened(*given: object) -> Embedder:
        return Embedder.from_parts(spec, TextTokenizer(tiny_tokenizer, spec.max_tokens), *parts)

    for module in (start, opened_job):
        monkeypatch.setattr(module, "open_model", opened)
    done = run(folder, tmp_path / "out", model="fake")
    assert (done.vectors, done.rejected) == (6, 1)
    with opened() as model:
        expected = model.encode_image([folder / f"{n}.png" for n in range(6)])
    assert (np.load(done.files[-1]) == expected).all()
    (told,) = (tmp_path / "out" / "parts").glob("*.rejected.jsonl")
    row = json.loads(told.read_text())
    assert (row["id"], row["reason"], row["file"]) == ("bad.png", "image", "pictures")
    lines = [{"text": "tea"}, {"image": str(folder / "3.png")}, {"image": str(folder / "bad.png"), "id": 7}]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)))
    mixed = run(tmp_path / "in.jsonl", tmp_path / "mixed", model="fake")
    assert (mixed.vectors, mixed.rejected) == (2, 1)
    assert (np.load(mixed.files[-1])[1] == expected[3]).all()
