"""LLaVA-NeXT in ONNX against transformers' own model and processor: rows, and E5-V's whole vectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, LlamaConfig, LlavaNextConfig

from edge_embed import Embedder, ModelError, ModelSpec
from edge_embed.architectures._clip import VISION
from edge_embed.architectures.llava_next import LLAMA, LLAVA_NEXT, text_values, with_defaults
from edge_embed.backends import Batch, ImageBackend, ImageRows, load, load_images
from edge_embed.images.preprocess import load_image
from edge_embed.layouts.folder import read_folder
from edge_embed.spec.weights import File, Weights
from edge_embed_convert import convert
from edge_embed_convert.checkpoint.source import Tensors
from edge_embed_convert.onnx.export import to_onnx, write_image
from edge_embed_convert.variant import open_variant

from support import drawings, tiny, tiny_llava

Array = NDArray[np.float32]
TOLERANCE = 1e-4  # per element; 9e-6 was measured of rows as long as 60, 7e-7 of unit vectors
SIZES = [(28, 28), (200, 60), (60, 200), (97, 101), (31, 150), (333, 222)]  # (width, height): every pinpoint
TEXTS = ["A cat.", "two  spaces\n", "", "ends in a blank ", 'braces {} {0} and "quotes"', "naïve 東京"]
EDITS = ["make it red", "with {braces}\n", " "]


@dataclass
class Made:
    folder: Path
    model: Any
    processor: Any
    spec: ModelSpec
    config: dict[str, Any]
    tensors: Tensors

    def part(self, name: str, folder: Path, level: str = "float32", pooling: Any = "mean") -> Any:
        """Export a part and load it."""
        files = to_onnx(self.config, self.tensors, level, folder, pooling=pooling, part=name)
        weights = Weights(format="onnx", level=level, files=(File(path=f"onnx/{files[0].name}"),), part=name)
        opened = load_images if name == "image" else load
        return opened("onnx", folder, replace(self.spec, pooling=pooling), weights, 2)

    def vectors(self, prompts: Sequence[str], images: Sequence[Image.Image]) -> Array:
        """Embed as E5-V's authors do: the last token's hidden state, normalised; each input alone."""
        out = []
        for n, prompt in enumerate(prompts):
            given: dict[str, Any] = {"images": [images[n]]} if images else {}
            inputs = self.processor(text=[prompt], return_tensors="pt", **given)
            with torch.inference_mode():
                states = self.model(**inputs, output_hidden_states=True).hidden_states[-1]
            out.append(torch.nn.functional.normalize(states[:, -1], dim=-1)[0].numpy())
        return np.stack(out)

    def features(self, images: Sequence[Image.Image]) -> list[Array]:
        """Return the rows that transformers' language model would read for each image."""
        pixels = self.processor.image_processor(list(images), return_tensors="pt")
        with torch.inference_mode():
            found = self.model.model.get_image_features(pixels["pixel_values"], pixels["image_sizes"])
        return [rows.numpy() for rows in found.pooler_output]

    def prompt(self, name: str, text: str = "") -> str:
        """Fill in a prompt as transformers takes it."""
        return self.spec.prompts[name].replace("{image}", tiny_llava.IMAGE_TOKEN).replace("{text}", text)


def open_made(folder: Path, model: Any) -> Made:
    config = json.loads((folder / "config.json").read_text())
    tensors = Tensors([folder / "model.safetensors"])
    return Made(folder, model, tiny_llava.processor(folder), read_folder(folder).spec, config, tensors)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("llava") / "e5-v"
    return open_made(folder, tiny_llava.make(folder))


@pytest.fixture(scope="module")
def converted(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(made.folder, tmp_path_factory.mktemp("out"), ["onnx:float32", "onnx:int8"])[0]


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [Image.fromarray(drawings.photograph(*size, seed)) for seed, size in enumerate(SIZES)]


def read(made: Made, backend: ImageBackend, images: Sequence[Image.Image]) -> list[Array]:
    assert made.spec.image is not None
    return backend.forward([load_image(image, made.spec.image) for image in images])


def cosines(a: Array, b: Array) -> Array:
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_rows_of_a_text_equal_transformers(made: Made, tmp_path: Path) -> None:
    backend = made.part("text", tmp_path)
    for text in TEXTS:
        ids = made.processor.tokenizer(made.prompt("sentence", text), return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            expected = made.model.model.language_model(ids).last_hidden_state[0].numpy()
        (rows,) = backend.forward(Batch([ids[0].numpy().astype(np.int32)]))
        np.testing.assert_allclose(rows, expected, atol=TOLERANCE)


def test_rows_of_an_image_equal_transformers(made: Made, images: list[Image.Image], tmp_path: Path) -> None:
    backend = made.part("image", tmp_path)
    expected = made.features(images)
    assert len({len(rows) for rows in expected}) >= 4
    for got in (read(made, backend, images), [read(made, backend, [image])[0] for image in images]):
        for rows, wanted in zip(got, expected, strict=True):
            np.testing.assert_allclose(rows, wanted, atol=TOLERANCE)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_rows_of_text_and_images_equal_transformers(
    made: Made, images: list[Image.Image], pooling: str, tmp_path: Path
) -> None:
    """In one padded batch, with a text without an image in its midst."""
    rows = [None if n == 2 else rows for n, rows in enumerate(made.features(images))]
    prompts = [made.prompt("sentence", "x") if n == 2 else made.prompt("image") for n in range(len(images))]
    expected, ids, image_rows = [], [], []
    for n, prompt in enumerate(prompts):
        given = {} if rows[n] is None else {"images": [images[n]]}
        inputs = made.processor(text=[prompt], return_tensors="pt", **given)
        with torch.inference_mode():
            expected.append(made.model(**inputs, output_hidden_states=True).hidden_states[-1][0].numpy())
        ids.append(inputs["input_ids"][0].numpy().astype(np.int32))
        at = int((ids[-1] == made.config["image_token_index"]).argmax())
        image_rows.append(None if rows[n] is None else ImageRows(at, rows[n]))
    got = made.part("text", tmp_path, pooling=pooling).forward(Batch(ids, image_rows))
    for states, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(states, wanted if pooling == "mean" else wanted[-1:], atol=TOLERANCE)


def test_vectors_of_texts_images_and_both_equal_transformers(
    made: Made, converted: Path, images: list[Image.Image]
) -> None:
    with Embedder(f"{converted}:float32") as model:
        texts = made.vectors([made.prompt("sentence", text) for text in TEXTS], [])
        np.testing.assert_allclose(model.encode(TEXTS), texts, atol=TOLERANCE)
        alone = made.vectors([made.prompt("image")] * len(images), images)
        np.testing.assert_allclose(model.encode_image(images), alone, atol=TOLERANCE)
        for name in ("modified-image", "modified-dress"):
            prompts = [made.prompt(name, text) for text in EDITS]
            edits = [{"image": image, "text": text} for image, text in zip(images, EDITS, strict=False)]
            changed = made.vectors(prompts, images[: len(EDITS)])
            np.testing.assert_allclose(model.encode(edits, prompt_name=name), changed, atol=TOLERANCE)
        assert cosines(alone[0], alone[1]) < 0.99  # the image matters
        assert cosines(changed[0], alone[0]) < 0.99  # and so does the text


def test_an_image_among_texts_is_as_alone(converted: Path, images: list[Image.Image]) -> None:
    inputs = [TEXTS[0], {"image": images[1]}, TEXTS[3], {"image": images[2], "text": "blue"}, {"image": images[5]}]
    for level, deviation in (("float32", 1e-5), ("int8", 2e-3)):  # 0 was measured of both
        with Embedder(f"{converted}:{level}") as model:
            together = model.encode(inputs)
            for vector, one in zip(together, inputs, strict=True):
                np.testing.assert_allclose(vector, model.encode(one), atol=deviation)


def test_an_int8_tower_is_near_float32(made: Made, images: list[Image.Image], tmp_path: Path) -> None:
    exact = np.concatenate(read(made, made.part("image", tmp_path), images))
    for level, mean, bound in (("float16", 0.99999, 0.99999), ("int8", 0.995, 0.99)):
        near = cosines(np.concatenate(read(made, made.part("image", tmp_path, level), images)), exact)
        print(level, near.mean(), near.min())
        assert near.mean() >= mean  # 1.0000000 and 0.9998 were measured
        assert near.min() >= bound  # 0.999999 and 0.998
    with pytest.raises(KeyError):
        made.part("image", tmp_path, "int3")


def test_the_image_part_for_another_format_is_the_same_file(made: Made, tmp_path: Path) -> None:
    weights = write_image(open_variant(made.folder, None, None, None, {}), tmp_path, "float16")
    assert [file.path for file in weights.files] == ["onnx/vision_model_fp16.onnx", "onnx/vision_model_fp16.onnx_data"]
    assert (weights.format, weights.level, weights.part) == ("onnx", "float16", "image")
    assert all((tmp_path / file.path).stat().st_size == file.size for file in weights.files)


def test_int4_takes_an_int8_tower(made: Made, tmp_path: Path) -> None:
    """Random weights do not keep int4's bounds, so the exporter is called without verification."""
    from edge_embed_convert.conversion import write_parts
    from edge_embed_convert.export import Export

    source = open_variant(made.folder, None, None, None, {})
    parts = write_parts("onnx", Export(folder=tmp_path, source=source, levels=["int4", "int8"]))
    assert [(one.part, one.level) for one in parts] == [("text", "int4"), ("text", "int8"), ("image", "int8")]


def test_layers_that_no_feature_needs_are_not_stored(made: Made, tmp_path: Path) -> None:
    made.part("image", tmp_path)
    graph = onnx.load(tmp_path / "onnx" / "vision_model.onnx", load_external_data=False).graph
    names = [one.name for one in graph.initializer]
    assert any("layers.1." in name for name in names)
    assert not [name for name in names if "layers.2." in name or "post_layernorm" in name]


@pytest.mark.parametrize(
    "changes",
    [
        {"vision_feature_layer": -1},
        {"vision_feature_layer": 1},
        {"vision_feature_layer": -4},
        {"multimodal_projector_bias": False},
        {"vision": {"hidden_act": "gelu", "layer_norm_eps": 1e-3}},
        {"image_grid_pinpoints": [[28, 56], [28, 84]]},
    ],
    ids=str,
)
def test_towers_of_another_kind(changes: dict[str, Any], images: list[Image.Image], tmp_path: Path) -> None:
    folder = tmp_path / "e5-v"
    other = open_made(folder, tiny_llava.make(folder, **changes))
    for rows, expected in zip(read(other, other.part("image", tmp_path), images), other.features(images), strict=True):
        np.testing.assert_allclose(rows, expected, atol=TOLERANCE)


def new_name(name: str) -> str:
    """Return what transformers 5 calls a tensor; before it the tower kept its `vision_model.`."""
    if name.startswith("language_model.lm_head."):
        return name.removeprefix("language_model.")
    return "model." + name.replace("language_model.model.", "language_model.")


@pytest.mark.parametrize("inner", ["vision_model.", ""], ids=["4.52", "5.x"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_new_names_of_tensors(images: list[Image.Image], inner: str, tied: bool, tmp_path: Path) -> None:
    folder = tmp_path / "e5-v"
    model = tiny_llava.make(folder, tie_word_embeddings=tied)
    old = {name: torch.from_numpy(tensor) for name, tensor in Tensors([folder / "model.safetensors"]).items()}
    assert ("language_model.lm_head.weight" in old) != tied
    renamed = {new_name(name).replace("vision_model.", inner): tensor for name, tensor in old.items()}
    save_file(renamed, folder / "model.safetensors")
    other = open_made(folder, model)
    (rows,) = read(other, other.part("image", tmp_path), images[:1])
    np.testing.assert_allclose(rows, other.features(images[:1])[0], atol=TOLERANCE)
    ids = np.arange(3, 40, dtype=np.int32)
    (states,) = other.part("text", tmp_path).forward(Batch([ids]))
    with torch.inference_mode():
        expected = model.model.language_model(torch.from_numpy(ids)[None].long()).last_hidden_state[0].numpy()
    np.testing.assert_allclose(states, expected, atol=TOLERANCE)


def change(config: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Change a config's keys, those of its parts one by one."""
    parts = {key: {**config[key], **value} for key, value in values.items() if isinstance(value, dict)}
    return {**config, **values, **parts}


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("image", {"vision_feature_select_strategy": "full"}, "vision_feature_select_strategy='full' is not impl"),
        ("image", {"vision_feature_layer": [-2, -1]}, r"vision_feature_layer=\[-2, -1\] is not implemented; one"),
        ("image", {"vision_feature_layer": 4}, "vision_feature_layer=4 is none of a tower of 3 layers"),
        ("image", {"vision_feature_layer": -5}, "vision_feature_layer=-5 is none of a tower of 3 layers"),
        ("image", {"projector_hidden_act": "relu"}, "projector_hidden_act='relu' is not implemented; 'gelu' is"),
        ("image", {"vision_config": {"model_type": "siglip_vision_model"}}, "model_type='siglip_vision_model' is not"),
        ("image", {"vision_config": {"hidden_act": "silu"}}, "hidden_act='silu' is not implemented"),
        ("image", {"vision_config": {"num_channels": 1}}, "num_channels=1 is not implemented"),
        ("image", {"vision_config": {"num_attention_heads": 5}}, "not a multiple of num_attention_heads=5"),
        ("image", {"vision_config": {"patch_size": 5}}, "image_size=28 is not a multiple of patch_size=5"),
        ("image", {"vision_config": {"num_hidden_layers": 2}}, "tensors have no place in this architecture"),
        ("image", {"multimodal_projector_bias": False}, "2 tensors have no place"),
        ("text", {"text_config": {"model_type": "mistral"}}, "model_type='mistral' is not implemented; 'llama' is"),
        ("text", {"text_config": {"attention_bias": True}}, "attention_bias=True is not implemented"),
        ("text", {"text_config": {"mlp_bias": True}}, "mlp_bias=True is not implemented"),
        ("text", {"text_config": {"hidden_act": "gelu"}}, "hidden_act='gelu' is not implemented; 'silu' is"),
        ("text", {"text_config": {"rope_scaling": {"rope_type": "llama3"}}}, "rope_type='llama3' is not implemented"),
        ("text", {"text_config": {"num_hidden_layers": 1}}, "tensors have no place in this architecture"),
        ("text", {"text_config": {"hidden_size": 64}}, r"has shape \(279, 32\), config.json calls for \(279, 64\)"),
    ],
)
def test_values_that_are_not_implemented(
    made: Made, part: str, values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    spoilt = replace(made, config=change(made.config, values))
    with pytest.raises(ModelError, match=message):
        spoilt.part(part, tmp_path)


def test_a_graph_that_cannot_read_images_says_so(tmp_path: Path) -> None:
    tiny.make("llama", tmp_path / "llama", "lasttoken")
    (folder,) = convert(tmp_path / "llama", tmp_path / "out", ["onnx:float32"])
    spec = read_folder(folder).spec
    backend = load("onnx", folder, spec, spec.weights[0], 2)
    with pytest.raises(ModelError, match="cannot read an image among its tokens: convert the checkpoint again"):
        backend.forward(Batch([np.ones(3, np.int32)], [ImageRows(0, np.zeros((2, 32), np.float32))]))


def test_what_a_config_leaves_unsaid_is_what_transformers_takes() -> None:
    text, vision, whole = LlamaConfig(), CLIPVisionConfig(), LlavaNextConfig()
    assert {**LLAMA, "rope_theta": text.rope_parameters["rope_theta"]} == LLAMA
    assert {key: getattr(text, key) for key in LLAMA if key != "rope_theta"}.items() <= LLAMA.items()
    assert {key: getattr(vision, key) for key in VISION} == VISION
    stored = json.loads(whole.to_json_string(use_diff=False))
    assert {key: stored[key] for key in LLAVA_NEXT} == LLAVA_NEXT
    sparse = {"model_type": "llava_next", "text_config": {"rms_norm_eps": 1e-5}, "image_token_id": 7}
    assert with_defaults(sparse)["text_config"] == text_values(sparse) == {**LLAMA, "rms_norm_eps": 1e-5}
    assert with_defaults(sparse)["image_token_index"] == 7
