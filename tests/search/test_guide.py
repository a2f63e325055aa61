"""docs/search.md: its blocks run in order and give what stands below them; its tables are those of the code."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import sqlite3
from pathlib import Path

import pytest

from edge_embed.cli.main import main
from edge_embed.search import schema, signs
from edge_embed.search.meta import Meta

from support.pages import blocks, read
from support.places import ROOT
from support.search import splitting

PAGE = "docs/search.md"


@splitting
def test_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)
    told = ""
    for block in blocks(PAGE):
        if block.kind == "sh":
            for line in block.text.splitlines():
                assert main(shlex.split(line)[1:]) == 0, line
        elif block.kind == "python":
            exec(compile(block.text, PAGE, "exec", dont_inherit=True), {"__name__": "page"})
        else:
            assert block.kind == "text"
            assert told == block.text
        told = capsys.readouterr().out
        assert told or block.kind == "text"


def test_the_specification_is_the_code() -> None:
    text = read(PAGE)
    connection = sqlite3.connect(":memory:")
    schema.create_tables(connection)
    for table in ("meta", "root", "source", "passage", "vector", "sign", "gone"):
        said = re.search(rf"^\| `{table}` \| ([^|]*) \|", text, re.M)
        assert said is not None
        names = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
        assert re.findall(r"`(\w+)`", said[1]) == names
    connection.close()
    for field in dataclasses.fields(Meta):
        assert f"`{field.name}`" in text
    assert f"`application_id` {schema.APPLICATION:#x}, `user_version` {schema.VERSION}" in text
    assert f"a header of {signs.HEADER.size} bytes" in text
