"""The site is built as its maintainers build it, and a warning is an error."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.pages import PAGES
from support.places import ROOT

NEEDS = ("zensical", "mkdocstrings_handlers")
TOLD = "the site's tools are not installed; pip install --group docs has them"


@pytest.mark.skipif(any(importlib.util.find_spec(name) is None for name in NEEDS), reason=TOLD)
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    for name in ("docs", "edge_embed", "convert", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "edge_embed_convert").symlink_to("convert")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (page for page in PAGES if page != "README.md"):
        assert (tmp_path / "site" / page.removeprefix("docs/")).with_suffix(".html").is_file()
    reference = (tmp_path / "site" / "reference" / "python.html").read_text("utf-8")
    for name in ("edge_embed.Embedder.encode_image", "edge_embed.search_binary", "edge_embed_convert.convert"):
        assert f'id="{name}"' in reference
    assert "&gt;&gt;&gt;" in reference
    assert "<blockquote>" not in reference  # as Markdown reads a doctest
