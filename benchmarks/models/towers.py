"""The image towers that speed.images measures, at full size with random weights: as our graphs, and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIDE = {"jina-clip-v1": 224, "e5-v": 336}
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]  # of llava-v1.6, which E5-V keeps
WIDTH = 4096  # of Llama-3-8B, what E5-V's projector makes
CLIP_L = {
    "hidden_size": 1024,
    "image_size": 336,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
    "projection_dim": 768,
}


def write_graphs(tower: str, levels: Sequence[str], folder: Path) -> None:
    """Write the tower at each level as LEVEL.onnx."""
    from edge_embed_convert.onnx.file import write_graph

    config, tensors = (_jina_clip if tower == "jina-clip-v1" else _e5v)()
    for level in levels:
        write_graph(config, tensors, level, folder / f"{level}.onnx", "mean", part="image")


def image_spec(tower: str) -> Any:
    """Return how images become the tower's pixels."""
    from edge_embed.spec.image import ImageSpec

    if tower == "jina-clip-v1":
        return ImageSpec(size=(224, 224))
    return ImageSpec(size=(336, 336), edge=336, pinpoints=tuple((h, w) for h, w in PINPOINTS))


def processor(tower: str) -> Any:
    """Return transformers' own, by Pillow."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    if tower == "jina-clip-v1":
        return CLIPImageProcessorPil()
    size = {"shortest_edge": 336}
    return LlavaNextImageProcessorPil(size=size, crop_size=336, image_grid_pinpoints=PINPOINTS)


def in_torch(tower: str, which: str, dtype: Any) -> Callable[[Any], Any]:
    """Return a PyTorch module from pixels (n, 3, side, side) to what the tower gives, in evaluation mode.

    For jina-clip-v1 `which` is timm's EVA02-B/16, or transformers' CLIP ViT-B/16, a tower of as many products.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, LlavaNextModel

    if tower == "e5-v":
        model = LlavaNextModel(_e5v_config()).eval().to(dtype)
        layer = model.config.vision_feature_layer

        def features(pixels: Any) -> Any:
            states = model.vision_tower(pixels, output_hidden_states=True).hidden_states[layer]
            return model.multi_modal_projector(states[:, 1:])

        return features
    if which == "timm":
        import timm

        eva: Callable[[Any], Any] = (
            timm.create_model("eva02_base_patch16_clip_224", pretrained=False, num_classes=0).eval().to(dtype)
        )
        return eva
    config = CLIPVisionConfig(hidden_size=768, intermediate_size=3072, patch_size=16)
    clip = CLIPVisionModelWithProjection(config).eval().to(dtype)
    return lambda pixels: clip(pixel_values=pixels).image_embeds


def _jina_clip() -> tuple[dict[str, Any], Mapping[str, Any]]:
    from tests.support import jina_clip_reference as reference

    config = reference.config_of()
    state = reference.make(config, 1.0).state_dict()
    return config, {name: value.numpy() for name, value in state.items()}


def _e5v() -> tuple[dict[str, Any], Mapping[str, Any]]:
    from transformers import LlavaNextModel

    config = _e5v_config()
    state = LlavaNextModel(config).state_dict()
    tensors = {f"model.{name}": np.asarray(value) for name, value in state.items()}
    return config.to_dict(), {name: value for name, value in tensors.items() if "language_model" not in name}


def _e5v_config() -> Any:
    """Return E5-V's shape with one small layer of the language model, which the tower does not reach."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaNextConfig

    sizes = {"intermediate_size": 64, "num_attention_heads": 32, "num_hidden_layers": 1, "vocab_size": 64}
    return LlavaNextConfig(
        text_config=LlamaConfig(hidden_size=WIDTH, **sizes),
        vision_config=CLIPVisionConfig(**CLIP_L),
        image_grid_pinpoints=PINPOINTS,
        image_token_index=63,
    )
