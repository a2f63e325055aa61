"""MLX files: what each level costs on trained weights, how integers are packed, names, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open

from edge_embed import Embedder, InputError
from edge_embed.backends import Batch
from edge_embed.backends.mlx.backend import load
from edge_embed.backends.onnx.backend import OnnxBackend
from edge_embed.layouts.folder import read_folder
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.spec.weights import Weights
from edge_embed.vectors import normalize
from edge_embed_convert import convert
from edge_embed_convert.checkpoint.adapters import open_adapter
from edge_embed_convert.checkpoint.merge import Merged
from edge_embed_convert.checkpoint.source import Source, Tensors, open_source
from edge_embed_convert.export import Export
from edge_embed_convert.mlx.export import ALL, LEVELS, write
from edge_embed_convert.mlx.rounding import quantise
from edge_embed_convert.onnx.export import to_onnx

from support import tiny
from support.corpus import texts
from support.places import MINIATURES

needs_miniatures = pytest.mark.skipif(not MINIATURES.exists(), reason="the miniatures do not lie beside this checkout")
Vectors = NDArray[np.float32]


@pytest.mark.parametrize("bits", [4, 6, 8])
@pytest.mark.parametrize("group", [32, 64, 128])
def test_mlx_reads_what_was_packed(bits: int, group: int) -> None:
    weight = np.random.default_rng(0).standard_normal((5, 256), np.float32)
    made = quantise(weight, bits, group)
    scales, biases = (mx.array(x) for x in (made.scales, made.biases))
    back = np.array(mx.dequantize(mx.array(made.packed), scales, biases, group_size=group, bits=bits))
    step = np.repeat(made.scales, group, axis=1)
    # At 8 bits the ends of a group lie 255 steps apart, and bfloat16 is right to a 512th; below, ends are clipped.
    assert (np.abs(back - weight) <= (1.3 if bits == 8 else 3) * step).all()
    np.testing.assert_array_equal(made.scales, np.array(scales.astype(mx.bfloat16).astype(mx.float32)))
    np.testing.assert_array_equal(made.biases, np.array(biases.astype(mx.bfloat16).astype(mx.float32)))


@pytest.mark.parametrize(("bits", "share"), [(4, 0.9), (6, 0.9), (8, 0.5)])
def test_rounding_is_nearer_than_mlx_own(bits: int, share: float) -> None:
    """The squared error, against MLX's with the same bfloat16 scales: 0.86, 0.85 and 0.36 were measured."""
    weight = np.random.default_rng(0).standard_normal((64, 256), np.float32)
    own = mx.quantize(mx.array(weight).astype(mx.bfloat16), 64, bits)
    theirs = np.array(mx.dequantize(*own, group_size=64, bits=bits).astype(mx.float32))
    made = quantise(weight, bits, 64)
    parts = (mx.array(x) for x in (made.packed, made.scales, made.biases))
    ours = np.array(mx.dequantize(*parts, group_size=64, bits=bits))
    error = ((ours - weight) ** 2).sum() / ((theirs - weight) ** 2).sum()
    print(f"{bits} bits: {error:.3f}")
    assert error < share


def test_constant_groups_survive() -> None:
    weight = np.zeros((2, 64), np.float32)
    weight[1] = 0.75
    made = quantise(weight, 4, 64)
    parts = (mx.array(x) for x in (made.packed, made.scales, made.biases))
    np.testing.assert_allclose(np.array(mx.dequantize(*parts, group_size=64, bits=4)), weight, atol=1e-6)


def miniature(name: str) -> Source:
    folder = MINIATURES / name
    source = open_source(read_folder(folder))
    adapter = open_adapter(folder / "adapters" / "retrieval")
    return replace(source, tensors=Merged(source.tensors, adapter, tied=True))


def embed(folder: Path, source: Source, weights: Weights) -> Vectors:
    """Embed with a level's values in our ONNX graph, since MLX is slow on a CPU; the shortest text by both."""
    ids = TextTokenizer(source.folder / "tokenizer.json", 512).tokenize(texts(24), "Document: {text}").ids
    spec = replace(source.spec, pooling="last")
    values = stored_values(folder / weights.files[0].path)
    exact = OnnxBackend(to_onnx(source.config, values, "float32", folder / weights.level, pooling="last")[0], spec, 2)
    rows = exact.forward(Batch(ids))
    exact.close()
    vectors = normalize(np.stack([row[-1] for row in rows]))
    shortest = min(range(len(ids)), key=lambda n: len(ids[n]))
    backend = load(folder, spec, weights, 1)
    (row,) = backend.forward(Batch([ids[shortest]]))
    backend.close()
    np.testing.assert_allclose(normalize(row[-1:])[0], vectors[shortest], atol=1e-4)
    return vectors


def stored_values(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read an MLX file's tensors as float32, integers multiplied out."""
    read: Any = mx.load(str(path))
    out = {}
    for name, tensor in read.items():
        module, _, kind = name.rpartition(".")
        if kind in ("scales", "biases"):
            continue
        if tensor.dtype == mx.uint32:
            scales, biases = (read[f"{module}.{part}"].astype(mx.float32) for part in ("scales", "biases"))
            bits = next(bits for bits in (4, 6, 8) if scales.shape[-1] * 64 * bits == tensor.shape[-1] * 32)
            tensor = mx.dequantize(tensor, scales, biases, group_size=64, bits=bits)
        out[name] = np.array(tensor.astype(mx.float32))
    return out


@needs_miniatures
@pytest.mark.parametrize("name", ["mini-qwen3", "mini-eurobert"])
def test_every_level_is_near_float32(name: str, tmp_path: Path) -> None:
    source = miniature(name)
    (tmp_path / "config.json").write_text(json.dumps(source.config))
    files = write(Export(folder=tmp_path, source=source, levels=LEVELS))
    vectors = {one.level: embed(tmp_path, source, one) for one in files}
    cosines = {level: (rows * vectors["float32"]).sum(axis=1) for level, rows in vectors.items()}
    for level, values in cosines.items():
        print(f"{name} {level}: mean {values.mean():.5f}, least {values.min():.5f}")
    assert cosines["bfloat16"].min() > 0.9999  # 0.99999 was measured
    assert cosines["float16"].min() > 0.99999
    assert cosines["8bit"].mean() >= 0.9995  # 0.9999
    assert cosines["8bit"].min() >= 0.999  # 0.9998
    assert cosines["4bit"].mean() >= 0.99  # 0.9937 and 0.9936
    assert cosines["4bit"].min() >= 0.98  # 0.9897 and 0.9896
    sizes = {one.level: one.files[0].size or 0 for one in files}
    assert 0.49 < sizes["bfloat16"] / sizes["float32"] < 0.51
    assert sizes["8bit"] / sizes["float32"] < 0.27
    assert sizes["4bit"] / sizes["float32"] < 0.15


@needs_miniatures
@pytest.mark.parametrize("level", ["float32", "8bit"])
def test_switching_equals_merging(level: str, tmp_path: Path) -> None:
    """Four tasks on one base, against the merged weights of each; an 8-bit base loses as little as 8 bits do."""
    folder = MINIATURES / "mini-qwen3"
    source = open_source(read_folder(folder))
    (tmp_path / "config.json").write_text(json.dumps(source.config))
    (weights,) = write(Export(folder=tmp_path, source=source, levels=[level]))
    adapters = {path.name: path for path in sorted((folder / "adapters").iterdir())}
    spec = replace(source.spec, pooling="last")
    backend = load(tmp_path, replace(spec, task="clustering"), weights, 1, adapters)
    short = sorted(texts(24), key=len)[:4]  # MLX is slow on a CPU
    ids = TextTokenizer(folder / "tokenizer.json", 512).tokenize(short, "Document: {text}").ids
    for task, adapter in adapters.items():
        place = tmp_path / task
        place.mkdir()
        (place / "config.json").write_text(json.dumps(source.config))
        merged = replace(source, tensors=Merged(source.tensors, open_adapter(adapter), tied=True))
        (exact,) = write(Export(folder=place, source=merged, levels=["float32"]))
        alone = load(place, spec, exact, 1)
        backend.use_task(task)
        switched, right = (
            normalize(np.stack([row[-1] for row in one.forward(Batch(ids))])) for one in (backend, alone)
        )
        alone.close()
        print(
            f"{level} {task}: {np.abs(switched - right).max():.1e}, cosine {(switched * right).sum(axis=1).min():.5f}"
        )
        if level == "float32":
            np.testing.assert_allclose(switched, right, atol=2e-6)  # 3e-7 was measured
        else:
            assert (switched * right).sum(axis=1).min() > 0.9995  # 0.9999
    backend.close()


@pytest.mark.parametrize("name", ["bert", "qwen3", "eurobert"])
def test_a_folder_of_mlx_opens_by_itself(name: str, tmp_path: Path) -> None:
    pooling = "mean" if name == "bert" else "lasttoken"
    tiny.make(name, tmp_path / "source", pooling, hidden_size=64, intermediate_size=128)
    said: list[str] = []
    levels = ["float16", "float32"]  # random weights lose more in the others than trained ones may
    plain, folder = convert(
        tmp_path / "source",
        tmp_path / "out",
        ["onnx:float32", *(f"mlx:{level}" for level in levels)],
        group_size=32,
        report=said.append,
    )
    assert folder == tmp_path / "out" / "source-mlx"
    names = {path.name for path in folder.glob("*.safetensors")}
    assert names == {"model.safetensors", "model-float16.safetensors"}
    assert read_folder(folder).levels() == [f"mlx:{level}" for level in levels]
    words = ["a", "hello, world!", "word " * 12]
    with Embedder(plain) as reference, Embedder(f"{folder}:float32") as model:
        np.testing.assert_allclose(model.encode(words), reference.encode(words), atol=1e-5)  # 3e-7 was measured


def made(tmp_path: Path, name: str = "bert", **changes: Any) -> Source:
    tiny.make(name, tmp_path / "source", **changes)
    return open_source(read_folder(tmp_path / "source"))


def test_rows_that_no_group_divides_stay(tmp_path: Path) -> None:
    source = made(tmp_path, intermediate_size=48)
    said: list[str] = []
    (weights,) = write(Export(folder=tmp_path, source=source, levels=["4bit"], group_size=32, report=said.append))
    assert said[1].startswith("rows are no multiple of 32, and stay bfloat16: 'encoder.layer.0.output.dense.weight'")
    with safe_open(tmp_path / weights.files[0].path, "numpy") as file:
        kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        words = file.get_slice("encoder.layer.0.attention.self.value.weight").get_shape()
    assert kinds["encoder.layer.0.output.dense.weight"] == "BF16"
    assert kinds["embeddings.word_embeddings.weight"] == "U32"
    assert kinds["embeddings.word_embeddings.scales"] == kinds["embeddings.LayerNorm.weight"] == "BF16"
    assert words == [32, 32 * 6 // 32]
    assert kinds["pooler.dense.weight"] == "BF16"  # which other readers want and nobody computes
    (tmp_path / "config.json").write_text(json.dumps(source.config))
    load(tmp_path, source.spec, weights, 1).close()


def test_levels_that_cannot_be(tmp_path: Path) -> None:
    source = made(tmp_path)
    with pytest.raises(InputError, match="group_size=48: MLX has groups of 32, 64, 128"):
        write(Export(folder=tmp_path, source=source, levels=["8bit"], group_size=48))
    with pytest.raises(InputError, match=r"group_size=128 divides no row of this model, which has lengths \[32, 64\]"):
        write(Export(folder=tmp_path, source=source, levels=["8bit"], group_size=128))
    assert set(ALL) <= set(LEVELS)
    assert not list(tmp_path.glob("*.safetensors"))


def test_float16_that_overflows_is_refused(tmp_path: Path) -> None:
    source = made(tmp_path)
    large = {name: source.tensors[name] * np.float32(1e6) for name in source.tensors}
    with pytest.raises(InputError, match="holds a value that float16 cannot; write bfloat16 or float32"):
        write(Export(folder=tmp_path, source=replace(source, tensors=large), levels=["float16"]))


def test_one_level_takes_the_plain_name(tmp_path: Path) -> None:
    source = made(tmp_path)
    (weights,) = write(Export(folder=tmp_path, source=source, levels=["bfloat16"]))
    assert weights == Weights(format="mlx", level="bfloat16", files=weights.files)
    assert weights.files[0].path == "model.safetensors"
    assert set(Tensors([tmp_path / "model.safetensors"])) == set(source.tensors)
