"""The graph in standard operators beside ours: every architecture's, on the same weights, with the texts' vectors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from edge_embed import Embedder, ModelSpec, VerificationError
from edge_embed.backends.onnx.session import open_session
from edge_embed.layouts.folder import read_folder
from edge_embed.pipeline.head import ACTIVATIONS, Head, Layer
from edge_embed.pipeline.pooling import pool
from edge_embed.spec.model import FILE_NAME
from edge_embed.vectors import normalize
from edge_embed_convert import convert
from edge_embed_convert.checkpoint.renamed import as_known
from edge_embed_convert.checkpoint.source import Tensors, open_source
from edge_embed_convert.onnx.builder import MICROSOFT, Builder
from edge_embed_convert.onnx.export import to_onnx
from edge_embed_convert.onnx.head import add_head
from edge_embed_convert.onnx.portable import PortableBuilder

from support import jina_clip_reference, tiny, tiny_llava

Feeds = dict[str, NDArray[np.int64]]
LENGTHS = (9, 1, 30, 17)
TOLERANCE = 1e-5  # per element of rows about 6 long; 4e-6 was measured, in float32
STEPS = 0.999  # least cosine of a row in int8, where a rounded activation may differ by a step; 0.9999 was measured


def padded(size: int, types: int = 0) -> Feeds:
    """Return random texts, padded to the right; with `types`, of token types below it."""
    random = np.random.default_rng(4)
    mask = (np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).astype(np.int64)
    feeds = {"input_ids": random.integers(4, size, mask.shape) * mask, "attention_mask": mask}
    return feeds | {"token_type_ids": random.integers(0, types, mask.shape) * mask} if types else feeds


def run(path: Path, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
    session = open_session(path, 1)
    known = {"token_type_ids": np.zeros_like(next(iter(feeds.values()))), **feeds}
    found: list[NDArray[np.float32]] = session.run(None, {node.name: known[node.name] for node in session.get_inputs()})
    return found


def check_standard(path: Path) -> None:
    onnx.checker.check_model(str(path), full_check=True)
    assert [opset.domain for opset in onnx.load(str(path), load_external_data=False).opset_import] == [""]


def norm_mean(b: Builder, rows: str) -> str:
    return add_head(b, rows, Head("mean"), True)


@pytest.mark.parametrize("name", tiny.ARCHITECTURES)
def test_every_architecture_has_one(name: str, tmp_path: Path) -> None:
    """In float32 and int8, with the rows of all tokens, on the fused graph's data: nothing is written twice."""
    tiny.make(name, tmp_path)
    source = open_source(read_folder(tmp_path))
    config, tensors = source.config, source.tensors
    feeds = padded(config["vocab_size"])
    mask = feeds["attention_mask"].astype(bool)
    for level in ("float32", "int8"):
        options: dict[str, Any] = {"pooling": "mean", "portable": True, "head": norm_mean}
        fused, data, path = to_onnx(config, tensors, level, tmp_path, **options)
        check_standard(path)
        (tmp_path / "alone").mkdir(exist_ok=True)
        _, alone = to_onnx(config, tensors, level, tmp_path / "alone", pooling="mean")
        assert data.stat().st_size - alone.stat().st_size < 2**14
        rows, vectors = run(path, feeds)
        ours, theirs = run(fused, feeds)[0][mask], rows[mask]
        assert (normalize(ours) * normalize(theirs)).sum(axis=1).min() >= STEPS
        if level == "float32":
            np.testing.assert_allclose(theirs, ours, atol=TOLERANCE)
        expected = normalize(np.stack([pool(line[own], "mean") for line, own in zip(rows, mask, strict=True)]))
        np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["qwen3", "eurobert-grouped"])
def test_rotary_positions_may_begin_anywhere(name: str, tmp_path: Path) -> None:
    """As transformers.js pads where the last token is pooled: on the left."""
    tiny.make(name, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    tensors = Tensors([tmp_path / "model.safetensors"])
    head = {"head": lambda b, rows: add_head(b, rows, Head("last"), True)}
    *_, path = to_onnx(config, tensors, "float32", tmp_path, pooling="last", portable=True, **head)
    feeds = padded(config["vocab_size"])
    vectors = run(path, feeds)[1]
    shift = max(LENGTHS) - np.array(LENGTHS)
    left = {key: np.stack([np.roll(*pair) for pair in zip(one, shift, strict=True)]) for key, one in feeds.items()}
    np.testing.assert_allclose(run(path, left)[1], vectors, atol=1e-6)


@pytest.mark.parametrize("part", ["text", "image"])
def test_both_parts_of_jina_clip_have_one(part: Any, tmp_path: Path) -> None:
    text = {**jina_clip_reference.TINY_TEXT, "vocab_size": 60}
    config = jina_clip_reference.config_of(text, jina_clip_reference.TINY_VISION)
    torch.manual_seed(1)
    model = jina_clip_reference.JinaClip(config)
    tensors = as_known({name: value.detach().numpy() for name, value in model.state_dict().items()}, "jina_clip")
    fused, _, path = to_onnx(config, tensors, "float32", tmp_path, pooling="mean", portable=True, part=part)
    check_standard(path)
    feeds: dict[str, Any] = dict(padded(60))
    if part == "image":
        side = config["vision_config"]["image_size"]
        feeds = {"pixel_values": np.random.default_rng(0).standard_normal((2, 3, side, side), np.float32)}
    mask = feeds["attention_mask"].astype(bool) if part == "text" else slice(None)
    np.testing.assert_allclose(run(path, feeds)[0][mask], run(fused, feeds)[0][mask], atol=TOLERANCE)


def test_both_parts_of_llava_next_have_one(tmp_path: Path) -> None:
    """The text part takes an image's rows as our own does, and whoever feeds none reads texts."""
    tiny_llava.make(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    tensors = Tensors([tmp_path / "model.safetensors"])
    feeds = padded(config["text_config"]["vocab_size"])
    fused, _, path = to_onnx(config, tensors, "float32", tmp_path, pooling="last", portable=True)
    check_standard(path)
    rows = run(path, feeds)[0]
    last = np.stack([line[length - 1] for line, length in zip(rows, LENGTHS, strict=True)])
    np.testing.assert_allclose(last, run(fused, feeds)[-1], atol=TOLERANCE)
    fused, _, path = to_onnx(config, tensors, "float32", tmp_path, pooling="last", portable=True, part="image")
    check_standard(path)
    side = config["vision_config"]["image_size"]
    pixels = {"pixel_values": np.random.default_rng(0).standard_normal((2, 3, side, side), np.float32)}
    for theirs, ours in zip(run(path, pixels), run(fused, pixels), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=TOLERANCE)  # 5e-6 was measured


def test_token_types_are_those_of_transformers(tmp_path: Path) -> None:
    model = tiny.make("bert", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    tensors = Tensors([tmp_path / "model.safetensors"])
    *_, path = to_onnx(config, tensors, "float32", tmp_path, pooling="mean", portable=True)
    feeds = padded(config["vocab_size"], types=2)
    with torch.inference_mode():
        theirs = model(**{name: torch.tensor(values) for name, values in feeds.items()}).last_hidden_state.numpy()
    mask = feeds["attention_mask"].astype(bool)
    np.testing.assert_allclose(run(path, feeds)[0][mask], theirs[mask], atol=TOLERANCE)


def graph_of_head(head: Head, unit: bool, path: Path) -> None:
    with path.with_name("data").open("w+b") as file:
        builder = PortableBuilder("float32", file, "data", {})
        rows = builder.optional_input("rows", np.float32, 8)
        rows = builder.node("Unsqueeze", rows, builder.constant([0], np.int64))  # as long as the one text of the batch
        builder.output(add_head(builder, rows, head, unit), "vector", [None, None])
        onnx.save(builder.finish(rows, "last_hidden_state", 8), path)


@pytest.mark.parametrize("pooling", ["first", "last", "mean", "max", "weightedmean", "mean_sqrt_len"])
def test_the_vector_is_what_the_runtime_pools(pooling: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((7, 8), np.float32)
    graph_of_head(Head(pooling), False, tmp_path / "head.onnx")
    for own in (slice(0, 1), slice(0, 4), slice(0, 7), slice(5, 7)):
        mask = np.zeros((1, 7), np.int64)
        mask[:, own] = 1
        found = open_session(tmp_path / "head.onnx", 1).run(
            ["vector"], {"rows": rows, "input_ids": mask, "attention_mask": mask}
        )
        np.testing.assert_allclose(found[0][0], pool(rows[own], pooling), atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_modules_follow_the_pooling(activation: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows, bias = random.standard_normal((7, 8), np.float32), random.standard_normal(5, np.float32)
    layers = [Layer(random.standard_normal((5, 8), np.float32), bias, activation)]
    layers += [Layer(random.standard_normal((3, 5), np.float32), None, activation)]
    head, mask = Head("mean", layers), np.ones((1, 7), np.int64)
    graph_of_head(head, True, tmp_path / "head.onnx")
    feeds = {"rows": rows, "input_ids": mask, "attention_mask": mask}
    found = open_session(tmp_path / "head.onnx", 1).run(["vector"], feeds)[0]
    np.testing.assert_allclose(found, normalize(head.finish(head.pool(rows)[None])), atol=1e-6)


def test_an_operator_without_a_standard_form_is_named(tmp_path: Path) -> None:
    with (tmp_path / "data").open("w+b") as file:
        builder = PortableBuilder("float32", file, "data", {})
        with pytest.raises(NotImplementedError, match=r"BiasAdd has no form .* add it to convert/onnx/standard\.py"):
            builder.node("BiasAdd", "x", "y", "z", domain=MICROSOFT)


@pytest.fixture(scope="module")
def both(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with both graphs at three levels."""
    levels = ["onnx:float32", "onnx:int8", "onnx:int4"]
    (folder,) = convert(checkpoint, tmp_path_factory.mktemp("both"), levels, portable=True, accept_loss=True)
    return folder


def graphs(folder: Path) -> Sequence[str]:
    return [weights.files[0].path for weights in read_folder(folder).spec.weights]


def test_ours_is_chosen_where_both_lie(both: Path, tmp_path: Path) -> None:
    ours = ["onnx/model_fused.onnx", "onnx/model_quantized_fused.onnx", "onnx/model_q4_fused.onnx"]
    assert graphs(both) == ours
    files = {file.path for weights in ModelSpec.read(both / FILE_NAME).weights for file in weights.files}
    assert {"onnx/model.onnx", "onnx/model_quantized.onnx", "onnx/model_q4.onnx"} < files
    for path in both.rglob("*"):  # and where edge_embed.json was lost
        if path.is_file() and path.name != FILE_NAME:
            (tmp_path / path.relative_to(both)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(both)).symlink_to(path)
    assert graphs(tmp_path) == ours
    model = read_folder(tmp_path)
    assert model.files_of(model.spec.weights[0]) == ["onnx/model.onnx_data", ours[0]]


def test_the_standard_one_opens_here_too(both: Path) -> None:
    for level, name in (("float32", "model"), ("int8", "model_quantized"), ("int4", "model_q4")):
        with Embedder(f"{both}:{level}") as fused, Embedder(f"{both}/onnx/{name}.onnx") as standard:
            np.testing.assert_allclose(fused.encode(["abc", "a"]), standard.encode(["abc", "a"]), atol=1e-5)
    domains = {
        opset.domain for opset in onnx.load(str(both / "onnx/model_q4.onnx"), load_external_data=False).opset_import
    }
    assert domains == {"", MICROSOFT}  # MatMulNBits, as in other people's


def test_a_graph_that_cannot_know_the_prompt_gives_rows_alone(source: Path, tmp_path: Path) -> None:
    values = {"include_prompt": False, "prompts": {"query": "q: {text}"}}
    (folder,) = convert(source, tmp_path / "out", ["onnx:float32"], portable=True, spec=values)
    graph = onnx.load(str(folder / "onnx/model.onnx"), load_external_data=False).graph
    assert [output.name for output in graph.output] == ["last_hidden_state"]


@pytest.mark.parametrize("accept_loss", [False, True])
def test_one_that_differs_is_refused(source: Path, tmp_path: Path, monkeypatch: Any, accept_loss: bool) -> None:
    monkeypatch.setattr(
        "edge_embed_convert.onnx.export.add_head", lambda b, rows, **_: add_head(b, rows, Head("first"), True)
    )
    with pytest.raises(VerificationError, match=re.escape("onnx/model.onnx, in standard operators, has a cosine to ")):
        convert(source, tmp_path / "out", ["onnx:float32"], portable=True, accept_loss=accept_loss)
    assert not list((tmp_path / "out").iterdir())
