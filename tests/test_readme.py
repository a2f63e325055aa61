"""Every snippet of README runs; those that install are run by .ci/run, from a clean clone."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_embed import Embedder
from edge_embed.cli.main import main

from support.miniatures import shallow
from support.places import MINIATURES, ROOT

TASKS = ("retrieval", "text-matching", "classification", "clustering")

BLOCKS = re.findall(r"```(python|sh)\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)


def blocks(kind: str, start: str = "") -> list[str]:
    return [text for name, text in BLOCKS if name == kind and text.startswith(start)]


def test_no_snippet_is_forgotten() -> None:
    assert len(BLOCKS) == len(blocks("python")) + len(blocks("sh", "edge-embed")) + len(blocks("sh", "python3 -m venv"))
    assert len(blocks("python")) == 1
    assert len(blocks("sh", "python3 -m venv")) == 2


def test_python(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(compile(blocks("python")[0], "README.md", "exec"), names)
    scores = np.array([float(word) for word in re.findall(r"-?\d\.\d+", capsys.readouterr().out)])
    assert scores.argmax() == 2


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)  # a clone's
    (block,) = blocks("sh", "edge-embed")
    for line in block.splitlines():
        _, *words = shlex.split(line)
        assert main(words) == 0, line
    assert np.load(tmp_path / "vectors.npy").shape == (len((ROOT / "README.md").read_text("utf-8").splitlines()), 384)
    assert "name         all-MiniLM-L6-v2" in capsys.readouterr().out


@pytest.mark.skipif(not MINIATURES.exists(), reason="the trained miniatures do not lie beside this checkout")
def test_the_command_for_task_adapters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its repository is on a hub: a model of the same layout stands in."""
    monkeypatch.chdir(tmp_path)
    repository = "jinaai/jina-embeddings-v5-text-nano"
    shallow("mini-eurobert", tmp_path / "jina-embeddings-v5-text-nano")
    name = Path(repository).name
    lines = re.findall(rf"^edge-embed (convert {repository} .*)$", (ROOT / "README.md").read_text("utf-8"), re.M)
    assert len(lines) == 2
    assert main(shlex.split(lines[0].replace(repository, name))) == 0
    made = [path.name for path in sorted((tmp_path / "models").iterdir())]
    assert made == [f"{name}-{task}" for task in sorted(TASKS)]
    with Embedder(tmp_path / "models" / made[2]) as model:
        assert model.encode_query("a").shape == (256,)
    assert main([*shlex.split(lines[1].replace(repository, name)), "--overwrite"]) == 0
    files = [path.name for path in (tmp_path / "models" / f"{name}-retrieval-GGUF").glob("v5-nano-retrieval-*.gguf")]
    assert sorted(files) == ["v5-nano-retrieval-Q4_K_M.gguf", "v5-nano-retrieval-Q8_0.gguf"]
    for folder, level in ((f"{name}-retrieval-GGUF", "Q4_K_M"), (f"{name}-retrieval-mlx", "4bit")):
        with Embedder(f"{tmp_path / 'models' / folder}:{level}") as model:
            assert model.encode_query("a").shape == (256,)
    (line,) = re.findall(r"^edge-embed (convert models/.*\.gguf .*)$", (ROOT / "README.md").read_text("utf-8"), re.M)
    assert main(shlex.split(line)) == 0
    with Embedder(tmp_path / "models" / "nano") as model:
        assert model.encode_query("a").shape == (256,)


def test_ci_runs_both_installing_commands() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    for command, name in zip(blocks("sh", "python3 -m venv"), ("demo", "tests"), strict=True):
        assert len(command.splitlines()) == 1
        assert f"{name}=$(grep -m 1 '^python3 .*{command.split()[-1]}$' README.md)" in script
    assert 'run_in demo "$demo"\n' in script
    # The second runs in two parts, since the types are checked as soon as everything is installed.
    install, tests = script.index('run_in tests "${tests% && *}"'), script.index('run_in tests "${tests##* && }"')
    assert install < script.index(".venv/bin/mypy") < tests
    assert command.strip().rpartition(" && ")[2] == ".venv/bin/python -m pytest -n 2 --dist loadfile"
