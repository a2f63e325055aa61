"""Embedder.encode_file: every kind of file, and what it says of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_embed import Embedder, InputError

from support.jobs import texts, write_jsonl


def test_kinds(quick: str, tmp_path: Path) -> None:
    lines = texts(20)
    write_jsonl(tmp_path / "a.jsonl", lines)
    (tmp_path / "b.txt").write_text("\n".join(lines))
    (tmp_path / "c.csv").write_text("body\n" + "\n".join(lines))
    with Embedder(quick) as model:
        expected = model.encode(lines, precision="int8")
        assert (model.encode_file(tmp_path / "a.jsonl", precision="int8") == expected).all()
        assert (model.encode_file(str(tmp_path / "b.txt"), precision="int8") == expected).all()
        assert (model.encode_file(tmp_path / "c.csv", column="body", precision="int8") == expected).all()
        assert model.encode_file(tmp_path).shape == (1, 12)  # of a folder only documents


def test_wrong_ones(quick: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": 1}\n')
    with Embedder(quick) as model:
        with pytest.raises(InputError, match=r"a.jsonl, line 2: its 'text' is int, not a text"):
            model.encode_file(tmp_path / "a.jsonl")
        with pytest.raises(InputError, match="cannot read"):
            model.encode_file(tmp_path / "nothing.txt")
