"""What `edge-embed embed` and its kin print for people and for programs."""

from __future__ import annotations

import io
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import edge_embed
from edge_embed import Embedder
from edge_embed.cli.main import main


@pytest.fixture
def model(converted: Path) -> str:
    return f"{converted}:int8"


class Terminal(io.TextIOWrapper):
    """Standard output that says it is a terminal."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), "utf-8", write_through=True)

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_summary_and_json_on_demand(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["embed", "a cat", "x" * 60, "--model", model]) == 0
    first, second = screen.buffer.getvalue().decode().splitlines()  # type: ignore[attr-defined]
    with Embedder(model) as embedder:
        numbers = " ".join(f"{number:.4f}" for number in embedder.encode("a cat")[:4])
    assert first == f"{chr(39)}a cat{chr(39):36}  [{numbers} ...] 384 numbers, float32"
    assert second.startswith("'" + "x" * 37 + "...'")
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["embed", "a cat", "--model", model, "--json"]) == 0
    assert len(json.loads(sys.stdout.buffer.getvalue())[0]) == 384  # type: ignore[attr-defined]


def test_ids_of_json_lines_stay(model: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "x-1", "text": "a"}\n{"text": "b"}\n{"id": {"n": 2}, "text": "c"}\n')
    out = tmp_path / "out.jsonl"
    assert main(["embed", "-f", str(tmp_path / "in.jsonl"), "--model", model, "-o", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [{**row, "embedding": len(row["embedding"])} for row in rows] == [
        {"index": 0, "id": "x-1", "embedding": 384},
        {"index": 1, "embedding": 384},
        {"index": 2, "id": {"n": 2}, "embedding": 384},
    ]


def test_an_empty_file_gives_an_array_with_no_rows(model: str, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("")
    out = tmp_path / "v.npy"
    words = ["embed", "-f", str(tmp_path / "none.txt"), "--model", model, "-o", str(out), "--precision", "int8"]
    assert main(words) == 0
    assert (np.load(out).shape, np.load(out).dtype) == ((0, 384), np.int8)


def test_special_tokens_progress_and_offline(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_bytes("\ufeffa [PAD] b\n".encode())
    words = ["embed", "-f", str(tmp_path / "in.txt"), "--model", model, "--offline", "--threads", "1"]
    assert main([*words, "--special-tokens", "text", "--progress", "--backend", "onnx", "--max-memory", "2GB"]) == 0
    printed = capsys.readouterr()
    assert "embedding: 1 text in " in printed.err
    with Embedder(model, special_tokens="text") as embedder:
        np.testing.assert_allclose(json.loads(printed.out), embedder.encode(["a [PAD] b"]), atol=1e-6)
    assert main(words) == 0
    assert capsys.readouterr().err == ""


def test_a_notebook_is_no_terminal_and_shows_the_bar(
    fake: Embedder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.encode(["a", "b"])
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    fake.encode(["a", "b"], show_progress_bar=True)
    assert "2/2" in capsys.readouterr().err


def test_similarity_as_json(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["similarity", "a", "a", "b", "--model", model, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["first"], [one["text"] for one in found["others"]]) == ("a", ["a", "b"])
    assert found["others"][0]["score"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["embed", "a", "-o", "v.parquet"], "cannot tell a format by '.parquet' of v.parquet: name it with --format"),
        (["embed", "a", "-o", "v.parquet"], "'.b64', '.bin', '.csv', '.json', '.jsonl', '.ndjson', '.npy'"),
        (["embed", "a", "--json", "--format", "raw"], "--json and --format raw were both given"),
        (["embed", "-f", "d.csv"], "d.csv is a table, whose lines are no texts: write its texts one a line"),
        (["embed", "a", "-o", "."], "cannot write .: it is a folder; name a file in it, such as vectors.npy"),
        (["embed", "a", "-o", "no/v.npy"], "there is no folder"),
    ],
)
def test_what_is_refused_before_a_model_is_opened(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--model", "nowhere"]) == 1
    assert message in capsys.readouterr().err


def test_options_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["embed", "a", "--jsonli"])
    assert "unrecognized arguments: --jsonli" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"edge-embed {edge_embed.__version__}\n"
