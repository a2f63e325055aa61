"""What jobs read: tables, lines, folders of documents and images, standard input; and its columns."""

from __future__ import annotations

import gzip
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_embed import Embedder, InputError
from edge_embed.backends.fake import FakeBackend, FakeImageBackend
from edge_embed.cli.main import main
from edge_embed.jobs import opened as opened_job
from edge_embed.jobs import run, start
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.spec.image import ImageSpec

from support.fake import SPEC
from support.jobs import texts, write_jsonl

LINES = texts(60)


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
