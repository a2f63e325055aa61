"""Every page's coloured blocks run, in the order of the page, and give what stands below them.

Blocks without a language need what a test has not: a hub, an extra, another machine. They are shown without colour.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_embed.cli.main import main

from support.pages import PAGES, blocks
from support.places import ROOT

OWN = {  # what runs the blocks of pages that need more than a model
    "docs/apple-apps.md": "tests/docs/test_devices.py",
    "docs/databases.md": "tests/integrations/test_guide.py",
    "docs/integrations.md": "tests/integrations/test_guide.py",
    "docs/mac.md": "tests/docs/test_devices.py",
    "docs/raspberry-pi.md": "tests/docs/test_devices.py",
    "docs/search.md": "tests/search/test_guide.py",
    "docs/service.md": "tests/server/test_guide.py",
}
INSTALLING = ("git clone URL ", "python3 -m venv ", ". .venv/bin/activate")  # .ci/run does so in clean clones
FRACTION = re.compile(r"-?\d+\.\d+")
DIGITS = 0.02  # by how much kernels of another processor may move what is shown


@pytest.mark.parametrize("page", [page for page in PAGES if page not in OWN])
def test_the_blocks_of(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)  # a clone's
    names: dict[str, object] = {"__name__": "page"}
    told = ""
    for block in blocks(page):
        where = f"{page}:{block.line}"
        if block.kind == "text":
            assert agree(told, block.text), f"{where} gives\n{told}"
        elif block.kind == "python":
            exec(compile("\n" * (block.line - 1) + block.text, page, "exec", dont_inherit=True), names)
        elif block.kind == "sh":
            for line in block.text.splitlines():
                run(line, where)
        elif block.kind == "json":
            json.loads(block.text)
        else:
            assert block.kind == "", f"{where}: nothing runs a block in {block.kind}"
        told = capsys.readouterr().out


def run(line: str, where: str) -> None:
    """Run a line of a shell, which is a command of ours, or README's to install it."""
    if not line.startswith(INSTALLING):
        program, *words = shlex.split(line)
        assert program == "edge-embed", f"{where}: {line}"
        assert main(words) == 0, f"{where}: {line}"


def agree(told: str, said: str) -> bool:
    """Whether two outputs are the same but for the last digits of their fractions."""
    if FRACTION.sub("#", told).split() != FRACTION.sub("#", said).split():
        return False
    one, other = ([float(number) for number in FRACTION.findall(text)] for text in (told, said))
    return bool(np.allclose(one, other, atol=DIGITS))


def test_outputs_are_compared() -> None:
    assert agree("[[0.41 0.14]]\n", "[[0.42 0.14]]")
    assert not agree("[[0.41 0.14]]\n", "[[0.51 0.14]]")
    assert not agree("2 384", "3 384")


def test_pages_with_a_test_of_their_own() -> None:
    for page, test in OWN.items():
        assert Path(page).name in (ROOT / test).read_text("utf-8")
