"""Commands of the pages whose repositories are on a hub, with models of the same layout in their stead."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from edge_embed import Embedder
from edge_embed.cli.main import main

from support.miniatures import shallow
from support.pages import read
from support.places import MINIATURES

TASKS = ("retrieval", "text-matching", "classification", "clustering")


@pytest.mark.skipif(not MINIATURES.exists(), reason="the trained miniatures do not lie beside this checkout")
def test_the_commands_for_task_adapters_and_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    repository = "jinaai/jina-embeddings-v5-text-nano"
    shallow("mini-eurobert", tmp_path / "jina-embeddings-v5-text-nano")
    name = Path(repository).name
    guides = read("docs/guides/tasks.md") + read("docs/how-to/convert.md")
    lines = re.findall(rf"^edge-embed (convert {repository} .*)$", guides, re.M)
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
    (line,) = re.findall(r"^edge-embed (convert models/.*\.gguf .*)$", guides, re.M)
    assert main(shlex.split(line)) == 0
    with Embedder(tmp_path / "models" / "nano") as model:
        assert model.encode_query("a").shape == (256,)
