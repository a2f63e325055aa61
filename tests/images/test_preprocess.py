"""Pixels equal transformers' (and torchvision's, for Jina's format), and images are loaded ahead in order."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPVisionConfig, LlamaConfig, LlavaNextConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.modeling_llava_next import LlavaNextModel, image_size_to_num_patches
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from edge_embed import InputError, ModelError
from edge_embed.images import preprocess as images_module
from edge_embed.images.preprocess import load_ahead, load_image
from edge_embed.images.tiles import NEWLINE, packed_rows
from edge_embed.layouts.preprocessor import parse
from edge_embed.remedies.installing import install_extra
from edge_embed.spec.image import ImagePixels, ImageSpec

from support import drawings

LLAVA = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}
BOUND = 1 / 255  # of a pixel's range before normalising; 0 was measured, bit for bit


def spec_of(config: dict[str, Any]) -> ImageSpec:
    return parse(config, "preprocessor_config.json")


def difference(ours: ImagePixels, theirs: Any, spec: ImageSpec) -> float:
    expected = np.asarray(theirs, np.float32).reshape(ours.pixels.shape)
    return float((np.abs(ours.pixels - expected) * np.array(spec.std).reshape(3, 1, 1)).max())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"size": {"shortest_edge": 240}, "resample": 2},
        {"size": {"shortest_edge": 100}, "crop_size": {"height": 131, "width": 64}},
        {"size": {"height": 70, "width": 90}, "do_center_crop": False, "image_mean": [0.5] * 3, "image_std": [0.3] * 3},
    ],
    ids=["published", "wide and bilinear", "padded", "squashed"],
)
def test_pixels_equal_the_clip_processor(options: dict[str, Any]) -> None:
    processor = CLIPImageProcessorPil(**options)
    spec = spec_of(json.loads(processor.to_json_string()))
    for image in drawings.many():
        assert difference(load_image(image, spec), processor(image)["pixel_values"][0], spec) <= BOUND, image


@pytest.mark.parametrize("options", [{}, {"size": {"height": 96, "width": 70}, "resample": 2}], ids=str)
def test_pixels_equal_the_siglip_processor(options: dict[str, Any]) -> None:
    """What is left unsaid is what the class has."""
    processor = SiglipImageProcessorPil(**options)
    spec = spec_of({"image_processor_type": "SiglipImageProcessor", **options})
    assert spec == spec_of(json.loads(processor.to_json_string()))
    for image in drawings.many():
        assert difference(load_image(image, spec), processor(image)["pixel_values"][0], spec) <= BOUND, image


def test_pixels_equal_the_llava_next_processor() -> None:
    processor = LlavaNextImageProcessorPil(**LLAVA)
    spec = spec_of(json.loads(processor.to_json_string()))
    assert len(spec.pinpoints) == 5
    counts = set()
    for image in drawings.many():
        loaded = load_image(image, spec)
        assert difference(loaded, processor(image)["pixel_values"][0], spec) <= BOUND, image
        assert loaded.size == (image.height, image.width)
        counts.add(len(loaded.pixels))
    assert counts == {3, 4, 5}


@pytest.mark.parametrize(
    "config",
    [
        {"resize_mode": "shortest", "size": 224},
        {"resize_mode": "shortest", "size": 97, "interpolation": "bilinear"},
        {"resize_mode": "squash", "size": [60, 80]},
        {"resize_mode": "longest", "size": 224, "fill_color": 7},
        {"resize_mode": "shortest", "size": [100, 61]},
    ],
    ids=str,
)
def test_pixels_equal_torchvisions_steps_for_jinas_format(config: dict[str, Any]) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    functional = transforms.functional
    kinds = transforms.InterpolationMode
    kind = kinds.BILINEAR if config.get("interpolation") == "bilinear" else kinds.BICUBIC
    size, mode = config["size"], config["resize_mode"]
    target = (size, size) if isinstance(size, int) else tuple(size)
    spec = spec_of({**config, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]})
    for image in drawings.many():
        if "A" in image.getbands() or image.info.get("transparency") is not None:
            continue  # the original shows what lies hidden under transparency
        step = image.convert("RGB")
        if mode == "squash" or (isinstance(size, int) and mode == "shortest"):
            step = functional.resize(step, target if mode == "squash" else size, kind)
        else:
            choose = max if mode == "longest" else min
            ratio = choose(step.height / target[0], step.width / target[1])
            step = functional.resize(
                step, [max(1, round(step.height / ratio)), max(1, round(step.width / ratio))], kind
            )
        width, height = step.size
        gaps = [max(target[1] - width, 0), max(target[0] - height, 0)]
        around = [gaps[0] // 2, gaps[1] // 2, (gaps[0] + 1) // 2, (gaps[1] + 1) // 2]
        step = functional.pad(step, around, fill=config.get("fill_color", 0))
        step = functional.center_crop(step, list(target))
        expected = functional.normalize(functional.to_tensor(step), [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
        assert difference(load_image(image, spec), expected, spec) <= 1e-6, (image, config)


def llava(pinpoints: list[list[int]]) -> LlavaNextModel:
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision = CLIPVisionConfig(**shape, image_size=24, patch_size=4)
    text = LlamaConfig(**shape, num_key_value_heads=1, vocab_size=11)
    return LlavaNextModel(LlavaNextConfig(vision_config=vision, text_config=text, image_grid_pinpoints=pinpoints))


@pytest.mark.parametrize(
    "size", [(24, 24), (1, 50), (50, 1), (31, 77), (480, 640), (641, 480), (1000, 333), (333, 999)]
)
def test_features_are_packed_as_llava_next_packs_them(size: tuple[int, int]) -> None:
    pinpoints = [[24, 48], [48, 24], [48, 48], [72, 24], [24, 72]]
    tiles = image_size_to_num_patches(size, pinpoints, 24)
    features = torch.arange(tiles * 36, dtype=torch.float32).reshape(tiles, 36, 1)
    newline = torch.tensor([float(NEWLINE)])
    (packed,), _ = llava(pinpoints).pack_image_features([features], torch.tensor([size]), "default", newline)
    order = packed_rows(size, [(pin[0], pin[1]) for pin in pinpoints], (24, 24), (6, 6))
    assert order.tolist() == packed[:, 0].tolist()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"image_processor_type": "Siglip2ImageProcessor"}, "image_processor_type='Siglip2ImageProcessor'"),
        ({"do_resize": False}, "do_resize=false"),
        ({"do_sharpen": True}, "'do_sharpen' is not implemented"),
        ({"resample": 9}, "resample=9"),
        ({"size": {"longest_edge": 3}}, "size={'longest_edge': 3}"),
        ({"do_center_crop": False}, "many sizes"),
        ({"size": {"height": 4, "width": 5}}, "must be the same"),
        ({"size": {"shortest_edge": "x"}}, "size='x'"),
        ({"image_mean": "grey"}, "image_mean='grey' is not three numbers"),
        ({"image_std": [1, 0, 1]}, "impossible value of 'std'"),
        ({"rescale_factor": 0}, "impossible value of 'rescale'"),
        ({"image_grid_pinpoints": [[336, 336]]}, "impossible value of 'pinpoints'"),
        ({**LLAVA, "image_grid_pinpoints": [[336, 336]], "crop_size": 100}, "must be the same"),
        ({**LLAVA, "image_grid_pinpoints": [[336, 100]]}, "impossible value of 'pinpoints'"),
        ({**LLAVA, "image_processor_type": "LlavaNextImageProcessorFast"}, "expected image_grid_pinpoints"),
        ({"resize_mode": "fit"}, "resize_mode='fit'"),
        ({"resize_mode": "squash", "interpolation": "random"}, "interpolation='random'"),
        ({"resize_mode": "squash", "size": [1, 2, 3]}, "size=.1, 2, 3. is not a size"),
        ({"resize_mode": "squash", "fill_color": "red"}, "fill_color='red' is not a whole number"),
        ({"resize_mode": "squash", "fill_color": 300}, "impossible value of 'fill'"),
        ({"resize_mode": "squash", "crop_size": 3}, "'crop_size' is not implemented"),
    ],
)
def test_what_a_preprocessor_config_may_not_say(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=f"(?s)preprocessor_config.json.*{message}"):
        spec_of(config)


def test_the_formats_are_told_apart() -> None:
    assert spec_of({"image_processor_type": "CLIPImageProcessorFast", "size": 224, "crop_size": 224}) == ImageSpec(
        size=(224, 224), edge=224
    )
    jina = {"image_processor_type": "JinaCLIPImageProcessor", "auto_map": {}, "size": 224}
    assert spec_of(jina) == ImageSpec(size=(224, 224), half="even")


SMALL = ImageSpec(size=(8, 8))


def test_images_come_in_order_and_bad_ones_in_their_place() -> None:
    good = drawings.photograph(20, 30, 1)
    items = [good, b"nothing", good[:10], "/no/such/file", good]
    results = list(load_ahead(items, SMALL, errors="return", indices=range(7, 99)))
    assert [type(result) for result in results] == [ImagePixels, InputError, ImagePixels, InputError, ImagePixels]
    assert str(results[1]).startswith("image 8: 7 bytes")
    assert str(results[3]).startswith("image 10: /no/such/file cannot be read")
    assert results[0].size == (30, 20)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="image 1: 7 bytes"):
        list(load_ahead(items, SMALL))


def test_no_more_is_loaded_than_is_needed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, threads = [], set()
    load = load_image

    def slow(*arguments: Any) -> ImagePixels:
        threads.add(threading.get_ident())
        time.sleep(0.01)
        return load(*arguments)

    def items() -> Any:
        for n in range(100):
            taken.append(n)
            yield drawings.photograph(9, 9, n)

    monkeypatch.setattr(images_module, "load_image", slow)
    stream = load_ahead(items(), SMALL, threads=2)
    for n in range(10):
        next(stream)
        assert len(taken) <= n + 1 + 2 * images_module.AHEAD
    assert len(threads) == 2
    before = len(taken)
    stream.close()  # type: ignore[attr-defined]
    assert len(taken) == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edge-embed-images")]


def test_an_image_does_not_depend_on_its_batch() -> None:
    many = drawings.many()
    alone = [load_image(image, SMALL).pixels for image in many]
    for image, expected in zip(load_ahead(many, SMALL, threads=4), alone, strict=True):
        assert isinstance(image, ImagePixels)
        assert np.array_equal(image.pixels, expected)


def test_a_line_too_thin_to_scale() -> None:
    with pytest.raises(InputError, match="image 3: an image of 1 x 100,000 is too thin"):
        load_image(np.zeros((100_000, 1), np.uint8), ImageSpec(size=(224, 224)), index=3)


def test_pillow_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ImportError, match=re.escape(install_extra("images"))):
        load_image(np.zeros((4, 4), np.uint8), SMALL)


def test_transparency_shows_the_stated_colour() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    spec = ImageSpec(size=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3, background=(0, 0, 255))
    assert load_image(clear, spec).pixels[0, :, 0, 0].tolist() == [0, 0, 1]
