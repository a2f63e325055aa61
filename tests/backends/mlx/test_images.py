"""MLX's image parts, and the language model that reads images: the references' numbers, batches, files, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file, save_file
from transformers import LlavaNextForConditionalGeneration

from edge_embed import BackendError, CorruptModelError, Embedder, InputError, ModelSpec, UnsupportedModelError
from edge_embed.backends import Batch, ImageRows
from edge_embed.backends.mlx.backend import load, load_images
from edge_embed.images.preprocess import load_image
from edge_embed.layouts.folder import read_folder
from edge_embed.layouts.preprocessor import parse
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.spec.image import ImagePixels, ImageSpec
from edge_embed.spec.sample_image import sample_image
from edge_embed.spec.weights import File, Weights
from edge_embed.vectors import normalize
from edge_embed_convert import convert
from edge_embed_convert.checkpoint.source import open_source
from edge_embed_convert.export import Bound, Export
from edge_embed_convert.mlx import export as to_mlx
from edge_embed_convert.mlx.export import write

from support import jina_clip_reference as reference
from support import tiny, tiny_llava
from support.drawings import photograph

Rows = NDArray[np.float32]
SHAPE = {**reference.TINY_TEXT, "hidden_size": 96, "num_attention_heads": 12, "vocab_size": len(tiny.WORDS)}
CLIP = reference.config_of(SHAPE, {**reference.TINY_VISION, "width": 96})
SIDE = CLIP["vision_config"]["image_size"]
LENGTHS = (1, 2, 5, 255, 256, 257, 700)  # queries attend in blocks of 256, and to 256 tokens a text is compiled alone
TEXTS = ["a cat", "two dogs run", "x"]


@pytest.fixture(scope="module")
def clip_model() -> reference.JinaClip:
    return reference.make(CLIP, 1.5)


@pytest.fixture(scope="module")
def clip(clip_model: reference.JinaClip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return jina-clip-v1's folder as published, small."""
    folder = tmp_path_factory.mktemp("clip") / "jina-clip-v1"
    reference.publish(clip_model, CLIP, folder)
    return folder


@pytest.fixture(scope="module")
def converted(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    targets = [f"mlx:{level}" for level in ("float32", "8bit", "4bit")]
    with pytest.MonkeyPatch.context() as patch:  # 96 random channels are not what the bound is for
        patch.setitem(to_mlx.BOUNDS, "4bit", Bound(mean=0.9, min=0.8))
        return convert(clip, tmp_path_factory.mktemp("out"), targets, group_size=32, report=print)[0]


@pytest.fixture(scope="module")
def llava_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[LlavaNextForConditionalGeneration, Path]:
    folder = tmp_path_factory.mktemp("llava") / "e5-v"
    return tiny_llava.make(folder), folder


def opened(folder: Path, part: str, file: str = "model.safetensors", level: str = "float32", **changes: Any) -> Any:
    """Load a part of a folder that holds config.json and preprocessor_config.json."""
    config = json.loads((folder / "config.json").read_text())
    spec = ModelSpec(
        name="x",
        architecture=config["model_type"],
        dim=config["text_config"].get("embed_dim") or config["text_config"]["hidden_size"],
        max_tokens=8192,
        pooling="mean" if config["model_type"] == "jina_clip" else "last",
        normalize=True,
        image=parse(json.loads((folder / "preprocessor_config.json").read_text()), "preprocessor_config.json"),
    )
    weights = Weights(format="mlx", level=level, part=part, files=(File(path=file),))
    module_load = load_images if part == "image" else load
    return module_load(folder, replace(spec, **changes), weights, 1)


def some_ids(*lengths: int) -> list[NDArray[np.int32]]:
    return [np.random.default_rng(n).integers(4, len(tiny.WORDS), n).astype(np.int32) for n in lengths]


def unit(rows: Sequence[Any]) -> Rows:
    return normalize(np.stack([np.asarray(row, np.float32) for row in rows]))


def samples(count: int) -> list[Image.Image]:
    return [Image.fromarray(sample_image(seed)) for seed in range(100, 100 + count)]


def test_jina_clips_texts_equal_the_reference(clip_model: reference.JinaClip, clip: Path) -> None:
    """Per element of rows about 10 long; 7e-6 was measured, alone and in a padded batch."""
    ids = some_ids(*LENGTHS)
    exact = [clip_model.text_model(torch.from_numpy(row.astype(np.int64))).numpy() for row in ids]
    backend = opened(clip, "text")
    alone = [backend.forward(Batch([row]))[0] for row in ids]
    for rows in (alone, backend.forward(Batch(ids))):
        for row, right in zip(rows, exact, strict=True):
            np.testing.assert_allclose(row, right, atol=1e-4)
    backend.close()


def test_jina_clips_images_equal_the_reference(clip_model: reference.JinaClip, clip: Path) -> None:
    """Per element of rows about 10 long; 8e-6 was measured. Eleven images: computed four at a time."""
    pixels = np.random.default_rng(0).standard_normal((11, 3, SIDE, SIDE), np.float32)
    exact = torch.stack([clip_model.vision_model(torch.from_numpy(one)) for one in pixels]).numpy()
    seen = [ImagePixels(one[None], (SIDE, SIDE)) for one in pixels]
    backend = opened(clip, "image")
    together = backend.forward(seen)
    assert [rows.shape for rows in together] == [(1, 96)] * 11
    np.testing.assert_allclose(np.concatenate(together), exact, atol=1e-4)
    for drawing, rows in zip(seen, together, strict=True):
        np.testing.assert_allclose(backend.forward([drawing])[0], rows, atol=1e-5)  # 0 was measured
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="was closed"):
        backend.forward(seen)


@pytest.mark.parametrize("changes", [{"intp_freq": False, "pt_hw_seq_len": 5}, {"pt_hw_seq_len": 9}, {"layers": 1}])
def test_positions_as_the_tower_was_trained(changes: dict[str, Any], clip: Path, tmp_path: Path) -> None:
    config = reference.config_of({**SHAPE, "hidden_size": 48}, {**reference.TINY_VISION, **changes})
    model = reference.make(config, 1.5)
    reference.save(model, config, tmp_path)
    shutil.copy(clip / "preprocessor_config.json", tmp_path)
    pixels = np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE), np.float32)
    backend = opened(tmp_path, "image")
    (rows,) = backend.forward([ImagePixels(pixels, (SIDE, SIDE))])
    np.testing.assert_allclose(rows[0], model.vision_model(torch.from_numpy(pixels[0])).numpy(), atol=1e-4)
    backend.close()


def rename_anew(folder: Path) -> None:
    """Name the tensors as transformers does from 4.52 on, with `vision_model` left out as later releases do."""
    stored = load_file(folder / "model.safetensors")
    old = [("language_model.lm_head.", "lm_head."), ("language_model.model.", "model.language_model.")]
    old += [("vision_tower.vision_model.", "model.vision_tower."), ("multi_modal", "model.multi_modal")]
    old += [("image_newline", "model.image_newline")]
    renamed = {}
    for name, value in stored.items():
        start, new = next(pair for pair in old if name.startswith(pair[0]))
        renamed[new + name.removeprefix(start)] = value
    save_file(renamed, folder / "model.safetensors")


def channels_last(folder: Path) -> None:
    """Store the convolution as MLX's own layers have it."""
    stored = load_file(folder / "model.safetensors")
    name = "vision_tower.vision_model.embeddings.patch_embedding.weight"
    stored[name] = np.ascontiguousarray(stored[name].transpose(0, 2, 3, 1))
    save_file(stored, folder / "model.safetensors")


@pytest.mark.parametrize("change", [lambda folder: None, rename_anew, channels_last])
def test_a_language_model_reads_images_as_transformers_does(
    change: Callable[[Path], None],
    llava_model: tuple[LlavaNextForConditionalGeneration, Path],
    tmp_path: Path,
) -> None:
    """Vectors of images between texts, and of a text, alone and together; 5e-7 was measured."""
    model, published = llava_model
    folder = Path(shutil.copytree(published, tmp_path / "e5-v"))
    change(folder)
    processor, words = tiny_llava.processor(folder), TextTokenizer(folder / "tokenizer.json", 8192)
    text, tower = opened(folder, "text"), opened(folder, "image")
    spec = parse(json.loads((folder / "preprocessor_config.json").read_text()), "")
    sizes = [(40, 60), (100, 30), (28, 28), (90, 91), (17, 160)]
    seen = [Image.fromarray(photograph(*size, n)) for n, size in enumerate(sizes)]
    rows = tower.forward([load_image(one, spec) for one in seen])
    batch: list[NDArray[np.int32]] = list(words.tokenize(["only a text"]).ids)
    image_rows: list[ImageRows | None] = [None]
    exact = [last_row(model, input_ids=torch.from_numpy(batch[0][None].astype(np.int64)))]
    for image, some in zip(seen, rows, strict=True):
        (alone,) = tower.forward([load_image(image, spec)])
        np.testing.assert_allclose(some, alone, atol=1e-5)  # 0 was measured
        made = processor(text="see <image>\nSummary: ", images=image, return_tensors="pt")
        exact.append(last_row(model, **made))
        batch.append(made["input_ids"][0].numpy().astype(np.int32))
        image_rows.append(ImageRows(int((batch[-1] == model.config.image_token_id).argmax()), some))
        assert (batch[-1] == model.config.image_token_id).sum() == len(some)
    together = [out[-1] for out in text.forward(Batch(batch, image_rows=image_rows))]
    singly = [text.forward(Batch([ids], image_rows=[one]))[0][-1] for ids, one in zip(batch, image_rows, strict=True)]
    np.testing.assert_allclose(unit(together), unit(exact), atol=1e-4)
    np.testing.assert_allclose(unit(singly), unit(exact), atol=1e-4)
    np.testing.assert_allclose(unit(singly), unit(together), atol=1e-5)
    text.close()
    tower.close()


def last_row(model: LlavaNextForConditionalGeneration, **inputs: Any) -> Rows:
    with torch.inference_mode():
        row: Rows = model(**inputs, output_hidden_states=True).hidden_states[-1][0, -1].numpy()
    return row


def test_conversion_to_a_folder_and_back(clip_model: reference.JinaClip, clip: Path, tmp_path: Path) -> None:
    """float32 alone keeps the image part in float32; 3e-7 and 8e-7 were measured."""
    (folder,) = convert(clip, tmp_path, ["mlx:float32"])
    assert folder.name == "jina-clip-v1-mlx"
    spec = ModelSpec.read(folder / "edge_embed.json")
    assert [(w.part, w.level, w.files[0].path) for w in spec.weights] == [
        ("text", "float32", "model.safetensors"),
        ("image", "float32", "vision_model.safetensors"),
    ]
    assert spec.image is not None
    ids = TextTokenizer(folder / "tokenizer.json", spec.max_tokens).tokenize(TEXTS).ids
    texts = [clip_model.text_model(torch.from_numpy(row.astype(np.int64))).mean(0).numpy() for row in ids]
    pixels = [torch.from_numpy(load_image(one, spec.image).pixels[0]) for one in samples(3)]
    seen = [clip_model.vision_model(one).numpy() for one in pixels]
    with Embedder(folder) as model:
        assert "weights: mlx:float32" in model.explain()
        np.testing.assert_allclose(model.encode(TEXTS), unit(texts), atol=1e-4)
        np.testing.assert_allclose(model.encode_image(samples(3)), unit(seen), atol=1e-4)
        mixed = model.encode([{"image": samples(1)[0]}, "x"])
        np.testing.assert_allclose(mixed, unit([seen[0], texts[2]]), atol=1e-4)


def test_e5_v_from_checkpoint_to_vectors(tmp_path: Path) -> None:
    """Texts, images and both, with E5-V's prompts: 1.2e-6 was measured of float32, cosines of 0.9998 and 0.9987."""
    published = tmp_path / "e5-v"
    model = tiny_llava.make(published, text={"hidden_size": 64, "intermediate_size": 96})
    processor = tiny_llava.processor(published)
    with pytest.MonkeyPatch.context() as patch:  # 64 random channels: 0.9985 was measured
        patch.setitem(to_mlx.BOUNDS, "8bit", Bound(mean=0.995, min=0.99))
        (folder,) = convert(published, tmp_path / "all", ["mlx:bfloat16", "mlx:8bit"], group_size=32)
    (plain,) = convert(published, tmp_path / "plain", ["mlx:float32"])
    spec = ModelSpec.read(plain / "edge_embed.json")
    texts, seen = ["a cat", "two dogs, {run}\n"], [Image.fromarray(photograph(60, 90, 1)), samples(1)[0]]

    def expected(prompt: str, text: str, drawing: Image.Image | None) -> Rows:
        words = spec.prompts[prompt].replace("{image}", tiny_llava.IMAGE_TOKEN).replace("{text}", text)
        return last_row(model, **processor(text=words, images=drawing, return_tensors="pt"))

    edited = [{"image": drawing, "text": text} for drawing, text in zip(seen, texts, strict=True)]
    wanted = [
        unit([expected("sentence", text, None) for text in texts]),
        unit([expected("image", "", drawing) for drawing in seen]),
        unit([expected("modified-image", one["text"], one["image"]) for one in edited]),
    ]
    for place, bound in ((f"{plain}:float32", 0.0), (f"{folder}:bfloat16", 0.999), (f"{folder}:8bit", 0.995)):
        with Embedder(place) as embedder:
            found = [embedder.encode(texts), embedder.encode_image(seen)]
            found.append(embedder.encode(edited, prompt_name="modified-image"))
        for rows, right in zip(found, wanted, strict=True):
            print(place[-8:], np.abs(rows - right).max(), (rows * right).sum(axis=1).mean())
            if bound:
                assert (rows * right).sum(axis=1).mean() > bound
            else:
                np.testing.assert_allclose(rows, right, atol=1e-4)


def test_what_each_level_costs(converted: Path, clip: Path) -> None:
    """Random weights lose more than trained ones: see the bounds in test_to_mlx.py."""
    spec = ModelSpec.read(converted / "edge_embed.json")
    assert [(w.part, w.level) for w in spec.weights] == [
        *(("text", level) for level in ("float32", "8bit", "4bit")),
        ("image", "bfloat16"),
    ]
    lines = ["a cat", "two dogs run", "word " * 20, "x", "hello, world!"]
    with Embedder(f"{converted}:float32") as model:
        exact = model.encode(lines)
        seen = model.encode_image(samples(6))
    for level, bound in (("8bit", 0.999), ("4bit", 0.9)):  # 0.99968 and 0.957 were measured
        with Embedder(f"{converted}:{level}") as model:
            cosines = (model.encode(lines) * exact).sum(axis=1)
            print(f"{level}: {cosines.mean():.5f}")
            assert cosines.mean() >= bound
            np.testing.assert_array_equal(model.encode_image(samples(6)), seen)
    tower = opened(clip, "image")
    pixels = [load_image(one, spec.image) for one in samples(6)] if spec.image else []
    cosines = (unit([rows[0] for rows in tower.forward(pixels)]) * seen).sum(axis=1)
    assert cosines.mean() >= 0.9995  # 0.99993 was measured for bfloat16
    tower.close()


def test_each_part_has_its_own_tensors(llava_model: Any, tmp_path: Path) -> None:
    """What no vector depends on is in neither file: the head, and the tower's last layer and norm."""
    _, folder = llava_model
    source = open_source(read_folder(folder))
    weights = write(Export(folder=tmp_path, source=source, levels=["float16", "8bit"], group_size=32))
    assert [(one.part, one.level, one.files[0].path) for one in weights] == [
        ("text", "float16", "model.safetensors"),
        ("text", "8bit", "model-8bit.safetensors"),
        ("image", "bfloat16", "vision_model.safetensors"),
    ]
    texts = set(load_file(tmp_path / "model.safetensors"))
    assert texts == {name for name in source.tensors if name.startswith("language_model.model.")}
    with (tmp_path / "vision_model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    images = set(header) - {"__metadata__"}
    assert {header[name]["dtype"] for name in images} == {"BF16"}
    left = {"language_model.lm_head.weight"}
    left |= {name for name in source.tensors if (".layers.2." in name and "vision" in name) or "post_layernorm" in name}
    assert len(left) == 1 + 16 + 2
    assert texts | images == set(source.tensors) - left
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(folder / name, tmp_path)
    exact = opened(folder, "image")
    stored = opened(tmp_path, "image", "vision_model.safetensors", "bfloat16")
    drawn = [ImagePixels(np.random.default_rng(0).standard_normal((3, 3, 28, 28), np.float32), (20, 50))]
    (right,), (near,) = (one.forward(drawn) for one in (exact, stored))
    assert ((normalize(right) * normalize(near)).sum(axis=1)).min() > 0.999
    exact.close()
    stored.close()


def test_folders_without_our_file(converted: Path, clip: Path, tmp_path: Path) -> None:
    """The image part in a file of its own, or in every level's; both read as their maker's folder is."""
    apart = Path(shutil.copytree(converted, tmp_path / "jina-clip-v1-mlx"))
    for name in ("edge_embed.json", "modules.json"):
        (apart / name).unlink()
    (tmp_path / "whole").mkdir()
    whole = Path(shutil.copytree(clip, tmp_path / "whole" / "jina-clip-v1-mlx"))
    assert [(w.part, w.level, w.files[0].path) for w in read_folder(whole).spec.weights] == [
        ("text", "float32", "model.safetensors"),
        ("image", "float32", "model.safetensors"),
    ]
    assert {(w.part, w.level, w.files[0].path) for w in read_folder(apart).spec.weights} == {
        ("text", "float32", "model.safetensors"),
        ("text", "8bit", "model-8bit.safetensors"),
        ("text", "4bit", "model-4bit.safetensors"),
        ("image", "bfloat16", "vision_model.safetensors"),
    }
    with Embedder(f"{converted}:float32") as ours, Embedder(f"{apart}:float32") as theirs, Embedder(whole) as one:
        np.testing.assert_array_equal(theirs.encode(TEXTS), ours.encode(TEXTS))
        np.testing.assert_array_equal(theirs.encode_image(samples(2)), ours.encode_image(samples(2)))
        np.testing.assert_allclose(one.encode(TEXTS), ours.encode(TEXTS), atol=1e-6)
        assert ((one.encode_image(samples(2)) * ours.encode_image(samples(2))).sum(axis=1) > 0.999).all()


def test_a_quantised_folder_of_both_parts(tmp_path: Path) -> None:
    """As MLX's own tools do: the tower and its positions too, some layers with other bits; 4e-7 was measured."""
    plain, folder = tmp_path / "e5-v", tmp_path / "e5-v-mlx"
    tiny_llava.make(plain, text={"hidden_size": 64, "intermediate_size": 64}, vision={"hidden_size": 64})
    shutil.copytree(plain, folder)
    tensors, worth, said = {}, {}, {"group_size": 64, "bits": 8, "mode": "affine"}
    for name, value in load_file(plain / "model.safetensors").items():
        tensors[name] = worth[name] = value
        if value.ndim == 2 and value.shape[1] % 64 == 0:
            module = name.removesuffix(".weight")
            bits = 6 if module.endswith(("v_proj", "linear_1")) else 8
            said |= {module: {"group_size": 64, "bits": bits}} if bits == 6 else {}
            parts = mx.quantize(mx.array(value), 64, bits)
            worth[name] = np.array(mx.dequantize(*parts, group_size=64, bits=bits))
            tensors |= dict(zip((name, f"{module}.scales", f"{module}.biases"), map(np.array, parts), strict=True))
    save_file(tensors, folder / "model.safetensors")
    save_file(worth, plain / "model.safetensors")
    change(folder, quantization=said)
    assert [(w.part, w.level) for w in read_folder(folder).spec.weights] == [("text", "8bit"), ("image", "8bit")]
    image = Image.fromarray(photograph(60, 90, 1))
    (exact,) = convert(plain, tmp_path / "out", ["mlx:float32"])
    with Embedder(folder) as quantised, Embedder(exact) as right:
        for inputs in (["a cat"], [{"image": image}]):
            print(np.abs(quantised.encode(inputs) - right.encode(inputs)).max())
            np.testing.assert_allclose(quantised.encode(inputs), right.encode(inputs), atol=1e-4)


def change(folder: Path, **values: Any) -> None:
    """Set values of config.json, `text_`, `vision_` before the name for those of a part."""
    config = json.loads((folder / "config.json").read_text())
    for name, value in values.items():
        part = next((part for part in ("text", "vision") if name.startswith(f"{part}__")), None)
        place = config[f"{part}_config"] if part else config
        place[name.removeprefix(f"{part}__")] = value
    (folder / "config.json").write_text(json.dumps(config))


def drop(folder: Path, start: str) -> None:
    path = folder / "model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if not name.startswith(start)}, path)


@pytest.mark.parametrize(
    ("spoil", "part", "error", "message"),
    [
        (lambda f: drop(f, "vision_tower."), "image", CorruptModelError, r"lacks \d+ tensors .*'embeddings\.class_emb"),
        (lambda f: drop(f, "image_newline"), "image", CorruptModelError, "lacks 1 tensors .*: 'image_newline'"),
        (lambda f: drop(f, "language_model."), "text", CorruptModelError, r"lacks \d+ tensors .*'embed_tokens"),
        (
            lambda f: change(f, vision_feature_layer=[-2, -5]),
            "image",
            UnsupportedModelError,
            r"layer=\[-2, -5\] is not",
        ),
        (
            lambda f: change(f, vision_feature_layer=-5),
            "image",
            UnsupportedModelError,
            "layer=-5 is none of a tower of 3 layers, 0 to 3,",
        ),
        (lambda f: change(f, vision_feature_select_strategy="full"), "image", UnsupportedModelError, "strategy='full'"),
        (lambda f: change(f, projector_hidden_act="relu"), "image", UnsupportedModelError, "hidden_act='relu'"),
        (lambda f: change(f, text__model_type="mistral"), "text", UnsupportedModelError, "model_type='mistral'"),
        (lambda f: change(f, vision__model_type="siglip"), "image", UnsupportedModelError, "model_type='siglip'"),
        (lambda f: change(f, vision__patch_size=5), "image", CorruptModelError, "28 is not a multiple of patch_size=5"),
        (lambda f: change(f, vision__image_size=56), "image", CorruptModelError, r"'embeddings\.position_embedding\.w"),
        (lambda f: change(f, vision__num_attention_heads=5), "image", CorruptModelError, "not a multiple of num_atten"),
    ],
)
def test_what_does_not_fit_is_named(
    spoil: Callable[[Path], None], part: str, error: type[Exception], message: str, llava_model: Any, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(llava_model[1], tmp_path / "e5-v"))
    spoil(folder)
    with pytest.raises(error, match=message):
        opened(folder, part)


@pytest.mark.parametrize(
    ("changes", "part", "error", "message"),
    [
        ({"text__pooler_type": "cls_pooler"}, "text", UnsupportedModelError, "pooler_type='cls_pooler'"),
        ({"text__embed_dim": 64}, "text", UnsupportedModelError, "embed_dim=64 is not the text tower's 96"),
        ({"vision__post_norm": True}, "image", UnsupportedModelError, "post_norm=True"),
        ({"vision__embed_dim": 64}, "image", UnsupportedModelError, "embed_dim=64 needs a projection from width=96"),
        ({"vision__head_width": 10}, "image", CorruptModelError, "width=96, head_width=10"),
        ({"vision__layers": 2}, "image", UnsupportedModelError, r"no place .*'blocks\.2\."),
        ({"add_projections": True}, "image", UnsupportedModelError, "add_projections=True"),
    ],
)
def test_towers_of_another_kind(
    changes: dict[str, Any], part: str, error: type[Exception], message: str, clip: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(clip, tmp_path / "clip"))
    change(folder, **changes)
    with pytest.raises(error, match=message):
        opened(folder, part)


def test_pixels_and_parts_that_are_not_there(clip: Path, checkpoint: Path) -> None:
    backend = opened(clip, "image")
    with pytest.raises(InputError, match=r"images come as \(32, 32\) pixels, the weights take \(40, 40\)"):
        backend.forward([ImagePixels(np.zeros((1, 3, 32, 32), np.float32), (32, 32))])
    backend.close()
    with pytest.raises(BackendError, match="nothing says how images become pixels"):
        opened(clip, "image", image=None)
    weights = Weights(format="mlx", level="float32", part="image", files=(File(path="model.safetensors"),))
    spec = ModelSpec(name="x", architecture="bert", dim=32, max_tokens=9, pooling="mean", normalize=True)
    with pytest.raises(UnsupportedModelError, match="architecture 'bert' has no image part"):
        load_images(checkpoint, replace(spec, image=ImageSpec(size=(8, 8))), weights, 1)


def test_a_checkpoint_is_read_as_it_is_in_one_file_or_several(tmp_path: Path) -> None:
    folder = tmp_path / "e5-v"
    tiny_llava.make(folder)
    inputs = ["a cat", {"image": samples(1)[0]}]
    with Embedder(folder, backend="mlx") as model:
        assert "mlx:float32 (the checkpoint itself)" in model.explain()
        whole = model.encode(inputs)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = {name: f"model-0000{1 + n % 2}-of-00002.safetensors" for n, name in enumerate(sorted(tensors))}
    for file in set(files.values()):
        save_file({name: tensor for name, tensor in tensors.items() if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    with Embedder(folder, backend="mlx") as model:
        np.testing.assert_array_equal(model.encode(inputs), whole)
