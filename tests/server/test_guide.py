"""Every snippet of docs/service.md runs, and its tables have what there is."""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from edge_embed import Index
from edge_embed.cli import serve as cli_serve
from edge_embed.cli.main import main
from edge_embed.server.gather import gather
from edge_embed.server.settings import Settings
from edge_embed.server.shapes import openai

from support.places import ROOT
from support.real_service import serving

GUIDE = (ROOT / "docs" / "service.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", GUIDE, re.S)
ADDRESS = "http://127.0.0.1:8080"
LINES = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
# What needs root, a service manager, a container engine or the network: scripts/container.sh and .ci/run do the like.
ELSEWHERE = ("sudo systemctl ", "journalctl ", "podman ", "python3 -m venv ")
PYTHON = [text for kind, text in BLOCKS if kind == "python"]


@pytest.fixture(scope="module")
def address(converted: Path, tiny_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("index") / "notes.db"
    with Index.open(file, f"{converted}:int8") as index:
        index.add([{"id": "tea", "text": "Pour boiling water over the leaves."}])
    with serving(f"{converted}:int8=all-MiniLM-L6-v2", tiny_tokenizer, file) as found:
        yield found


def test_no_snippet_is_forgotten() -> None:
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "json"}
    known = ("curl ", "edge-embed serve ", "edge-embed service ", *ELSEWHERE)
    assert not [line for line in LINES if not line.startswith(known)]
    assert GUIDE.count("```") == 2 * len(BLOCKS)


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "all-MiniLM-L6-v2").mkdir(parents=True)
    parser = argparse.ArgumentParser()
    cli_serve.add_options(parser, "default/model")
    served = [cli_serve.read(parser.parse_args(shlex.split(line)[2:])) for line in LINES if "edge-embed serve " in line]
    assert [len(settings.models) for settings in served] == [1, 2, 1]
    for line in (line for line in LINES if line.startswith("edge-embed service ")):
        assert main([*shlex.split(line)[1:], "--print"]) == 0
        assert "--preload" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_curl(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    monkeypatch.setenv("CURL_HOME", str(tmp_path))
    commands = [line for line in LINES if line.startswith("curl ")]
    for line in commands:
        done = subprocess.run(shlex.split(line.replace(ADDRESS, address)), capture_output=True, text=True)
        assert done.returncode == 0, line + done.stdout + done.stderr
        assert "/metrics" in line or json.loads(done.stdout), line
    paths = {re.sub(r"\{.*\}", "MODEL", one.path) for one in (*gather().endpoints, *gather().listings)}
    prose = re.sub(r"```.*?```", "", GUIDE, flags=re.S)
    mentioned = {path for text in re.findall(r"`([^`]+)`", prose) for path in re.findall(r"(?<!\S)/[\w/.]*", text)}
    assert not paths - mentioned


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # as in a script, clients are not closed
@pytest.mark.parametrize("code", PYTHON)
def test_python(code: str, address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (module,) = re.findall(r"^from (\w+) import", code, re.M)
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    exec(compile(code.replace(ADDRESS, address), "service.md", "exec"), {})
    gc.collect()
    told = capsys.readouterr().out
    assert told.strip() in ("2 384", "2", "384 48", "(1, 384)")


def test_json() -> None:
    for text in (text for kind, text in BLOCKS if kind == "json"):
        call = openai.call(text.encode(), {})
        assert call.ask.inputs
        assert not call.ignored


def test_options() -> None:
    """The table has all options of serve, and what holds without them."""
    parser = argparse.ArgumentParser()
    cli_serve.add_options(parser, "default/model")
    options = {word for action in parser._actions for word in action.option_strings} - {"-h", "--help"}
    table = GUIDE[GUIDE.index("## Options") : GUIDE.index("## Under load")]
    rows = dict(re.findall(r"^\| (`--.+?) \| (.*?) \|", table, re.M))
    assert {word for cell in rows for word in re.findall(r"--[\w-]+", cell)} == options
    defaults = {field.name: field.default for field in fields(Settings)}
    for cell, said in rows.items():
        names = [word.removeprefix("--").replace("-", "_") for word in re.findall(r"--[\w-]+", cell)]
        for name, value in zip(names, said.replace("`", "").split(", "), strict=False):
            if isinstance(defaults[name], float):
                assert value == f"{defaults[name]:g}s"
    assert f"`--max-queue-tokens N` | {defaults['max_queue_tokens']:,} |" in table
    assert f"{defaults['host']}, {defaults['port']}" in table
