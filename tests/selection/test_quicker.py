"""What is said of weights that another engine would run faster here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_embed import Embedder
from edge_embed.backends.engines import Engine
from edge_embed.device.machine import this_device
from edge_embed.loading import load
from edge_embed.selection.doctor import advise
from edge_embed.selection.quicker import quicker
from edge_embed_convert import convert

from support import tiny

VNNI = frozenset({"avx_vnni"})


@pytest.mark.parametrize(
    ("backend", "architecture", "features"),
    [("onnx", "bert", VNNI), ("gguf", "gemma4", VNNI), ("gguf", "bert", frozenset({"avx2"}))],
)
def test_nothing_is_said_where_nothing_is_known_to_be_faster(
    backend: str, architecture: str, features: frozenset[str]
) -> None:
    assert quicker(backend, architecture, features) is None


def test_a_gguf_file_explains_what_is_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llama_cpp")
    device = replace(this_device(), features=this_device().features | VNNI)
    monkeypatch.setattr(load, "this_device", lambda: device)
    source = tmp_path / "tiny"
    tiny.make("bert", source, "mean")
    (folder,) = convert(source, tmp_path / "out", ["gguf:F16"])
    with Embedder(str(folder)) as model:
        assert "quicker: as ONNX int8 2.7 (Q8_0) to 4.2 (Q4_K_M) times as fast in bulk" in model.explain()
        assert "python -m benchmarks speed.gguf FILE.gguf --onnx" in model.explain()


def test_the_doctor_says_it_too() -> None:
    device = replace(this_device(), machine="x86_64", features=VNNI, graphics=())
    gguf = Engine("gguf", "llama-cpp-python", "0.3", ("CPU",))
    assert any('backend="fastest" converts a GGUF file' in one for one in advise(device, (gguf,)))
    assert not any("GGUF file" in one for one in advise(device, (replace(gguf, version=None),)))
