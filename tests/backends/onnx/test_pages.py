"""Pages of a graph's data file are given back once ONNX Runtime has copied the weights; what was written is kept."""

from __future__ import annotations

import mmap
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_embed.backends.onnx import pages as _onnx_pages
from edge_embed.backends.onnx.pages import MAPS, drop_mapped
from edge_embed.backends.onnx.session import open_session
from edge_embed_convert.checkpoint.source import Tensors
from edge_embed_convert.onnx.export import to_onnx

from support import tiny

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
SIZE = 1 << 20


def resident(path: Path) -> int:
    """Return how many bytes of a file's mappings are in memory."""
    entries = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", MAPS.read_text("utf-8", "surrogateescape"))
    ours = [entry for entry in entries if entry.partition("\n")[0].endswith(f" {path}")]
    return sum(int(size) << 10 for entry in ours for size in re.findall(r"^Rss: +(\d+) kB", entry, re.M))


def mapped(path: Path) -> mmap.mmap:
    """Write a file, map it as ONNX Runtime does, privately and writable, and read every page."""
    path.write_bytes(os.urandom(SIZE))
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    assert len(view[:]) == SIZE
    assert resident(path) > SIZE / 2  # all, but that the system may take pages back at any time
    return view


def test_pages_of_the_data_file_are_dropped_and_come_back(tmp_path: Path) -> None:
    ours, other = mapped(tmp_path / "model.onnx_data"), mapped(tmp_path / "other.onnx_data")
    assert drop_mapped(tmp_path / "model.onnx") == SIZE
    assert resident(tmp_path / "model.onnx_data") == 0
    assert resident(tmp_path / "other.onnx_data") > SIZE / 2
    assert ours[:] == (tmp_path / "model.onnx_data").read_bytes()
    assert len(other[:]) == SIZE


def test_a_kernel_that_tells_nothing_of_its_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_onnx_pages, "MAPS", tmp_path / "none")
    view = mapped(tmp_path / "model.onnx_data")
    assert drop_mapped(tmp_path / "model.onnx") == 0
    assert len(view[:]) == SIZE


def test_what_was_written_is_kept(tmp_path: Path) -> None:
    view = mapped(tmp_path / "model.onnx_data")
    view[5:8] = b"abc"
    assert drop_mapped(tmp_path / "model.onnx") == 0
    assert view[5:8] == b"abc"


def test_memory_without_a_name_after_a_mapping_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = mapped(tmp_path / "model.onnx_data")
    view[5:8] = b"abc"
    nameless = "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \nAnonymous:             0 kB\n"
    maps = tmp_path / "smaps"
    entries = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", MAPS.read_text("utf-8", "surrogateescape"))
    ours = next(entry for entry in entries if entry.partition("\n")[0].endswith("model.onnx_data"))
    maps.write_text(f"{ours}\n{nameless}")
    monkeypatch.setattr(_onnx_pages, "MAPS", maps)
    assert drop_mapped(tmp_path / "model.onnx") == 0
    assert view[5:8] == b"abc"


def test_a_cached_file_behind_a_link_is_known(tmp_path: Path) -> None:
    view = mapped(tmp_path / "blob")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.onnx_data").symlink_to(tmp_path / "blob")
    assert drop_mapped(tmp_path / "snapshot" / "model.onnx") == SIZE
    assert len(view[:]) == SIZE


def test_an_int4_session_holds_its_weights_once(tmp_path: Path) -> None:
    shape = {"hidden_size": 256, "intermediate_size": 1024, "head_dim": 64, "num_key_value_heads": 4}
    config = tiny.make("llama", tmp_path / "llama", "lasttoken", **shape).config.to_dict()
    tensors = Tensors([tmp_path / "llama" / "model.safetensors"])
    path, data = to_onnx(config, tensors, "int4", tmp_path, pooling="last")
    session = open_session(path, 2)
    feeds = {"input_ids": np.ones((1, 5), np.int64), "attention_mask": np.ones((1, 5), np.int64)}
    first = session.run(None, feeds)[0]
    assert resident(data) < data.stat().st_size / 10  # 0.03 was measured, and 0.26 without dropping any
    again = session.run(None, feeds)[0]
    np.testing.assert_array_equal(first, again)
