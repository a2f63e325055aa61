"""Image towers in llama.cpp's own files, beside a language model in GGUF: the vectors of our own folder."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from PIL import Image

from edge_embed import CorruptModelError, Embedder, FallbackWarning, InputError, ModelError, UnsupportedModelError
from edge_embed.backends import load_images
from edge_embed.formats.mmproj import image_spec_of, read_mmproj
from edge_embed.images.preprocess import load_image
from edge_embed.layouts.folder import read_folder
from edge_embed.layouts.gguf import find_mmproj
from edge_embed.layouts.listing import Listing
from edge_embed.layouts.onnx import find_onnx
from edge_embed.loading.prepare import prepare_image_part
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.sample_image import sample_image
from edge_embed_convert.checkpoint.mmproj import config_of
from edge_embed_convert.checkpoint.source import open_source
from edge_embed_convert.conversion import write_image_part
from edge_embed_convert.gguf.file import write_file
from edge_embed_convert.onnx.export import write_image

from support import tiny_llava

F16, F32 = gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.F32
# As llama.cpp's converter of LLaVA-1.6 renames: one replacement after another.
OLD = [
    *(("multi_modal_projector", "mm"), ("linear_1", "0"), ("linear_2", "2"), ("image_newline", "model.image_newline")),
    *(("vision_tower.vision_model", "v"), ("encoder.layers", "blk"), ("embeddings.", ""), ("_proj", "")),
    *(("self_attn.", "attn_"), ("layer_norm", "ln"), ("layernorm", "ln"), ("layrnorm", "ln")),
    *(("mlp.fc1", "ffn_down"), ("mlp.fc2", "ffn_up"), ("embedding", "embd")),
]
NEW = {"mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down", "image_newline": "v.image_newline"}
WIDE = {"hidden_size": 64, "intermediate_size": 96}  # rows that blocks of 32 divide
LAYERS = 2  # of three, since the rows are those of the last but one


def write(
    path: Path,
    model: Any,
    changes: Mapping[str, Any] | None = None,
    *,
    kind: gguf.GGMLQuantizationType = F32,
    new: bool = False,
    whole: bool = False,
    leave: tuple[str, ...] = (),
) -> Path:
    """Write the tower of a tiny LLaVA-NeXT as llama.cpp's converter does; `new` by the names of later ones.

    `changes` are keys (None: left out), `whole` keeps all layers and the norm after them, `leave` leaves tensors out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "clip")
    tower = {**tiny_llava.VISION, **WIDE}
    vision = {
        "image_size": tower["image_size"],
        "patch_size": tower["patch_size"],
        "embedding_length": tower["hidden_size"],
        "feed_forward_length": tower["intermediate_size"],
        "projection_dim": tower["projection_dim"],
        "attention.head_count": tower["num_attention_heads"],
        "attention.layer_norm_epsilon": 1e-5,
        "block_count": 3 if whole else LAYERS,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "image_grid_pinpoints": [size for pinpoint in tiny_llava.PINPOINTS for size in pinpoint],
        "mm_patch_merge_type": "spatial_unpad",
    }
    keys = {f"clip.vision.{key}": value for key, value in vision.items()}
    keys |= {"clip.has_vision_encoder": True, "clip.has_llava_projector": True, "clip.projector_type": "mlp"}
    for key, value in {**keys, "clip.use_gelu": False, **(changes or {})}.items():
        if value is not None:
            add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
            (writer.add_array if isinstance(value, list) else add[type(value)])(key, value)
    for name, value in model.state_dict().items():
        old = tiny_llava.old_name(name)
        kept = whole or not (f"layers.{LAYERS}." in old or "post_layernorm" in old)
        if old.startswith("language_model") or "position_ids" in old or not kept:
            continue
        for a, b in [(a, NEW.get(a, b) if new else b) for a, b in OLD]:
            old = old.replace(a, b)
        if old not in leave:
            exact = value.ndim < 2 or value.shape[-1] % 32
            used = F32 if exact else kind
            data = gguf.quants.quantize(value.numpy(), used)
            writer.add_tensor(old, data, raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("llava") / "e5-v"
    return tiny_llava.make(folder, vision=WIDE), folder


@pytest.fixture(scope="module")
def expected(llava: tuple[Any, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Return the rows that our own float32 graph makes of some images."""
    source = open_source(read_folder(llava[1]))
    folder = tmp_path_factory.mktemp("exact")
    return rows(folder, source.spec, write_image(source, folder, "float32"))


def rows(folder: Path, spec: Any, weights: Any) -> list[Any]:
    backend = load_images("onnx", folder, spec, weights, 1)
    sizes = [(90, 60), (40, 70), (64, 64)]
    drawn = [Image.fromarray(sample_image(seed)).resize(size) for seed, size in enumerate(sizes)]
    found = backend.forward([load_image(drawing, spec.image) for drawing in drawn])
    backend.close()
    return found


def made(path: Path, out: Path) -> list[Any]:
    """Convert a file and return the rows of the same images, read as the file's own header says."""
    out.mkdir()
    place = write_image_part(path, out, "float32")
    (weights,) = find_onnx(Listing.of(place))
    spec = ModelSpec(
        name="e5-v",
        architecture="llama",
        dim=32,
        max_tokens=9,
        pooling="last",
        normalize=True,
        image_token="<image>",
        image=image_spec_of(read_mmproj(path, 32), path),
    )
    return rows(place, spec, weights)


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [(F32, 1e-6), (F16, 0.04), (gguf.GGMLQuantizationType.BF16, 0.25), (gguf.GGMLQuantizationType.Q8_0, 0.8)],
)
@pytest.mark.parametrize("new", [False, True])
def test_rows_are_those_of_the_checkpoint(
    llava: tuple[Any, Path], expected: list[Any], tmp_path: Path, kind: Any, tolerance: float, new: bool
) -> None:
    """Rows are about 26 long; measured: 0, 0.019, 0.12, 0.38."""
    path = write(tmp_path / "mmproj-model.gguf", llava[0], kind=kind, new=new)
    for one, other in zip(made(path, tmp_path / "out"), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)


def test_which_layer_is_read(llava: tuple[Any, Path], expected: list[Any], tmp_path: Path) -> None:
    cut = write(tmp_path / "a.gguf", llava[0])
    whole = write(tmp_path / "b.gguf", llava[0], whole=True)
    named = write(tmp_path / "c.gguf", llava[0], {"clip.vision.feature_layer": [2]}, whole=True)
    first = write(tmp_path / "d.gguf", llava[0], {"clip.vision.feature_layer": [1]})
    layers = [config_of(read_mmproj(path), path)["vision_feature_layer"] for path in (cut, whole, named, first)]
    assert layers == [2, 2, 2, 1]
    for one, other in zip(made(whole, tmp_path / "out"), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.abs(made(first, tmp_path / "other")[0] - expected[0]).max() > 0.1


@pytest.fixture(scope="module")
def foreign(llava: tuple[Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as others publish it: two GGUF files, nothing of ours, no tokenizer.json."""
    folder = tmp_path_factory.mktemp("foreign") / "e5-v-GGUF"
    folder.mkdir()
    source = open_source(read_folder(llava[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge_embed_convert.gguf.file.SPEC_KEY", "general.description")
        write_file(folder / "e5-v.F16.gguf", source, "F16", source.folder / "tokenizer.json")
    write(folder / "mmproj-e5-v-F16.gguf", llava[0], kind=F16)
    return folder


def test_a_folder_of_others_says_what_it_is(foreign: Path, llava: tuple[Any, Path], tmp_path: Path) -> None:
    repo, ours = read_folder(foreign), read_folder(llava[1]).spec
    assert repo.levels() == ["gguf:F16"]
    assert ours.image is not None
    assert repo.spec.image is not None
    np.testing.assert_allclose(repo.spec.image.mean, ours.image.mean, rtol=1e-7)  # float32 in the file
    assert replace(repo.spec.image, mean=ours.image.mean, std=ours.image.std) == ours.image
    assert (repo.spec.image_token, repo.spec.image_prompt, repo.spec.pooling) == ("<image>", "image", "last")
    alone = tmp_path / "e5-v-GGUF"
    alone.mkdir()
    shutil.copy(foreign / "e5-v.F16.gguf", alone)
    assert read_folder(alone).spec.image is None


def test_the_graph_is_made_once(foreign: Path, expected: list[Any], tmp_path: Path) -> None:
    place, weights = prepare_image_part(foreign / "mmproj-e5-v-F16.gguf", "float16", tmp_path)
    assert (weights.part, weights.level) == ("image", "float16")
    found = rows(place, read_folder(foreign).spec, weights)
    for one, other in zip(found, expected, strict=True):
        cosines = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
        assert cosines.min() >= 0.9999
    before = (place / weights.files[0].path).stat().st_mtime_ns
    again, same = prepare_image_part(foreign / "mmproj-e5-v-F16.gguf", "float16", tmp_path)
    assert (again, same) == (place, weights)
    assert prepare_image_part(foreign / "mmproj-e5-v-F16.gguf", "int8", tmp_path)[1].level == "int8"
    assert (place / weights.files[0].path).stat().st_mtime_ns == before


def test_a_damaged_graph_is_made_again(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EDGE_EMBED_CACHE", str(tmp_path))
    with Embedder(foreign) as model:
        vector = model.encode_image(sample_image(4))
    path = next(tmp_path.glob("converted/*/*/onnx/*.onnx"))
    data = path.read_bytes()
    path.write_bytes(data[:-300] + bytes([data[-300] ^ 1]) + data[-299:])
    with Embedder(foreign) as model:
        np.testing.assert_array_equal(model.encode_image(sample_image(4)), vector)
    assert f"a conversion in the cache is damaged, and is made again: {path} is damaged" in caplog.text
    assert path.read_bytes() == data


def test_a_folder_of_others_gives_the_vectors_of_transformers(
    foreign: Path, llava: tuple[Any, Path], tmp_path: Path
) -> None:
    """Measured: 0.999998 at least, for a text, an image and both together."""
    model, folder = llava
    drawing = Image.fromarray(sample_image(3)).resize((90, 60))
    inputs = {"sentence": "a cat", "image": {"image": drawing}, "modified-image": {"image": drawing, "text": "a cat"}}
    with Embedder(f"{foreign}:F16", cache_dir=tmp_path) as embedder:
        for prompt, one in inputs.items():
            template = embedder.spec.prompts[prompt].replace("{image}", "<image>").replace("{text}", "a cat")
            shown = None if prompt == "sentence" else drawing
            given = tiny_llava.processor(folder)(text=template, images=shown, return_tensors="pt")
            with torch.no_grad():
                row = model(**given, output_hidden_states=True).hidden_states[-1][0, -1].numpy()
            assert embedder.encode([one])[0] @ row / np.linalg.norm(row) >= 0.9999


def test_which_file_is_taken() -> None:
    names = ["e5-v.Q4_K_M.gguf", "e5-v.mmproj-Q8_0.gguf", "e5-v.mmproj-f16.gguf", "mmproj.gguf"]
    assert find_mmproj(names) == "e5-v.mmproj-f16.gguf"
    assert find_mmproj(names[:1]) is None


@pytest.mark.parametrize(
    ("changes", "leave", "error", "message"),
    [
        ({"clip.projector_type": "ldp"}, (), UnsupportedModelError, "has the projector 'ldp', which is not impl"),
        (
            {"clip.projector_type": None, "clip.vision.projector_type": "gemma3"},
            (),
            UnsupportedModelError,
            "has the projector 'gemma3', which is not implemented; 'mlp' of LLaVA-1.6 is",
        ),
        ({"clip.use_silu": True}, (), UnsupportedModelError, "clip.use_silu is not implemented"),
        ({"clip.has_vision_encoder": None}, (), UnsupportedModelError, "is no image tower"),
        ({"clip.vision.image_grid_pinpoints": None}, (), CorruptModelError, "lacks 'clip.vision.image_grid_pinpoints'"),
        ({"clip.vision.image_grid_pinpoints": [28, 56, 28]}, (), CorruptModelError, "is no short list of pairs"),
        ({"clip.vision.image_grid_pinpoints": [28, 57]}, (), CorruptModelError, "impossible value of 'pinpoints'"),
        ({"clip.vision.image_mean": [0.5]}, (), CorruptModelError, r"clip.vision.image_mean=\[0.5\] is not three"),
        ({}, ("model.image_newline",), CorruptModelError, "lacks 'model.image_newline'"),
        ({}, ("mm.2.weight",), CorruptModelError, "lacks 'mm.2.weight', which LLaVA-1.6 needs"),
        ({"clip.vision.feature_layer": [0, 2]}, (), UnsupportedModelError, r"feature_layer=\[0, 2\] is not impl"),
        ({}, ("v.blk.1.ln2.bias",), CorruptModelError, "lack the tensor 'vision_tower.*layers.1.layer_norm2.bias'"),
    ],
)
def test_what_is_refused(
    llava: tuple[Any, Path], tmp_path: Path, changes: dict[str, Any], leave: tuple[str, ...], error: Any, message: str
) -> None:
    path = write(tmp_path / "mmproj.gguf", llava[0], changes, leave=leave)
    with pytest.raises(error, match=message) as raised:
        write_image_part(path, tmp_path, "float16")
    assert isinstance(raised.value, ModelError)
    assert [other.name for other in tmp_path.iterdir()] == ["mmproj.gguf"]


def test_a_tower_of_another_model(llava: tuple[Any, Path], tmp_path: Path) -> None:
    path = write(tmp_path / "mmproj.gguf", llava[0])
    with pytest.raises(CorruptModelError, match="makes rows 32 wide, the language model beside it reads 64"):
        read_mmproj(path, 64)


def test_a_folder_of_others_embeds_texts_and_images(
    foreign: Path, llava: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cosines to transformers: 0.99999 at least were measured."""
    drawing = Image.fromarray(sample_image(3))
    with Embedder(foreign, cache_dir=tmp_path) as embedder:
        found = embedder.encode(["a cat", {"image": drawing}, {"image": drawing, "text": "blue"}])
        prompts = [embedder.spec.prompts[name] for name in ("sentence", "image", "modified-image")]
    given = zip(prompts, ("a cat", "", "blue"), (None, drawing, drawing), strict=True)
    expected = [tiny_llava.vector(*llava, *one) for one in given]
    assert min((found * np.stack(expected)).sum(axis=1)) >= 0.9999
    monkeypatch.setitem(sys.modules, "edge_embed_convert.conversion", None)
    with pytest.warns(FallbackWarning, match="images cannot be embedded: .*pip install ") as caught:
        embedder = Embedder(foreign, cache_dir=tmp_path / "other")
    assert [one.filename for one in caught] == [__file__]
    with embedder:
        np.testing.assert_allclose(embedder.encode("a cat"), found[0], atol=1e-5)
        with pytest.raises(InputError, match="image 0: "):
            embedder.encode_image(drawing)
