"""GGUF as a source: every architecture comes back, bit for bit at F32, and other levels as gguf dequantises them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from edge_embed import Embedder
from edge_embed.architectures import architecture
from edge_embed_convert.checkpoint.source import Source
from edge_embed_convert.gguf.file import write_file
from edge_embed_convert.variant import open_variant

from support import tiny
from support.corpus import texts as corpus

FITTING = [name for name in tiny.ARCHITECTURES if name not in ("eurobert-grouped", "mpnet")]


CAME_FROM = dict.fromkeys(("roberta", "xlm-roberta", "camembert", "distilbert"), "bert")  # which llama.cpp calls so


def opened(name: str, folder: Path, pooling: str = "mean", **changes: Any) -> Source:
    """Make a tiny checkpoint and open it."""
    tiny.make(name, folder, pooling, **changes)
    return open_variant(folder, None, None, None, {})


def written(source: Source, folder: Path, level: str = "F32") -> Path:
    """Write a GGUF file into a folder of its own, with its tokenizer.json beside it."""
    folder.mkdir()
    path = folder / f"x-{level}.gguf"
    tokenizer = shutil.copy(source.folder / "tokenizer.json", folder)
    write_file(path, source, level, Path(tokenizer))
    return path


def tensors_of(path: Path) -> dict[str, Any]:
    return {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("name", FITTING)
def test_weights_and_numbers_come_back(name: str, tmp_path: Path) -> None:
    """Bit for bit, as a second file shows, with what the GGUF's own architecture makes of them."""
    source = opened(name, tmp_path / "model")
    path = written(source, tmp_path / "gguf")
    back = open_variant(path, None, None, None, {})
    known = source.spec.architecture
    assert back.spec == replace(source.spec, architecture=CAME_FROM.get(known, known))
    first, second = tensors_of(path), tensors_of(written(back, tmp_path / "again"))
    if known == "distilbert":
        assert not second.pop("token_types.weight").any()
    assert first.keys() == second.keys()
    for at, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[at], at)
    if known == back.spec.architecture:
        ours, others = (vars(architecture(known).read(config)) for config in (source.config, back.config))
        for key, number in others.items():
            left_out = {"max_position_embeddings": 64, "hidden_act": "gelu"}.get(key, ours[key])
            assert number == (pytest.approx(left_out, rel=1e-7) if isinstance(number, float) else left_out), key
        for at in back.tensors:
            np.testing.assert_array_equal(source.tensors[at][: back.tensors.shape(at)[0]], back.tensors[at], at)


@pytest.mark.parametrize("name", ["bert-tanh", "llama", "roberta", "qwen3-wide-heads"])
def test_vectors_are_those_of_the_checkpoint(name: str, tmp_path: Path) -> None:
    """Measured: 3e-8 at most, in float32; a config.json beside the file says which GELU it is."""
    source = opened(name, tmp_path / "model", "cls_token")
    path = written(source, tmp_path / "gguf")
    shutil.copy(tmp_path / "model" / "config.json", path.parent)
    texts = [text.encode()[:50].decode(errors="ignore") for text in corpus(20)]
    vectors = []
    for folder in (source.folder, path):
        with Embedder(f"{folder}:float32", cache_dir=tmp_path / "cache") as model:
            vectors.append(model.encode(texts))
    print(f"{name}: {np.abs(vectors[0] - vectors[1]).max():.1e}")
    np.testing.assert_allclose(*vectors, rtol=0, atol=1e-6)
