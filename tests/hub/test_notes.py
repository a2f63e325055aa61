"""Small files that several processes write: nobody reads half of one, and a failure leaves nothing beside it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_embed.hub.notes import replace_text


def test_writers_at_one_time_leave_one_whole_text(tmp_path: Path) -> None:
    texts = [str(n) * 10_000 for n in range(10)]
    note = tmp_path / "a" / "note.json"
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda text: replace_text(note, text), texts * 5))
    assert note.read_text() in texts
    assert os.listdir(note.parent) == [note.name]


def test_a_failure_leaves_the_old_text_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "note.json"
    replace_text(note, "old")

    def full(*names: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="the disk is full"):
        replace_text(note, "new")
    assert note.read_text() == "old"
    assert os.listdir(tmp_path) == [note.name]
