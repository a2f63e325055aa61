"""A bar of tensors while a level is written, on a terminal; nothing of it anywhere else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_embed import progress
from edge_embed.layouts.folder import read_folder
from edge_embed.progress import displays
from edge_embed_convert import convert
from edge_embed_convert.checkpoint import watched as module
from edge_embed_convert.checkpoint.arrays import shape_of
from edge_embed_convert.checkpoint.source import open_source

from support.screen import Screen


def test_tensors_are_counted_once_and_are_the_same(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened, steps = open_source(read_folder(source)), []
    with module.watched(opened, "onnx:int8") as read:
        assert list(read.tensors) == list(opened.tensors)
        name = next(iter(read.tensors))
        assert (read.tensors[name] == opened.tensors[name]).all()
        assert shape_of(read.tensors, name) == opened.tensors[name].shape
    assert capsys.readouterr().err == ""
    counted = module._Watched(opened.tensors, steps.append)
    assert [counted[name] is not None for _ in range(2) for name in counted]
    assert steps == [1] * len(opened.tensors)


def test_a_conversion_shows_how_far_a_level_is(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(displays, "EVERY", 0)
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(sys, "stderr", screen)
    convert(source, tmp_path / "out", ["onnx:int8"])
    for what in ("onnx:int8  ", "computing probes, onnx:int8  "):
        assert what in screen.getvalue()
    assert " tensors/s" in screen.getvalue()
    assert " 100 %" in screen.getvalue()
