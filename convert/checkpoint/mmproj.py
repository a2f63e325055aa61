"""llama.cpp's file of LLaVA-1.6's image tower -> a checkpoint's config and tensors -> the image part's graph."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.formats.gguf import Header
from edge_embed.formats.mmproj import NEWLINES, image_spec_of, vision

from .source import Array

TOWER, PROJECTOR = "vision_tower.vision_model.", "multi_modal_projector."
NAMES = {
    "v.class_embd": f"{TOWER}embeddings.class_embedding",
    "v.patch_embd.weight": f"{TOWER}embeddings.patch_embedding.weight",
    "v.position_embd.weight": f"{TOWER}embeddings.position_embedding.weight",
    **dict.fromkeys(NEWLINES, "image_newline"),
}
STEMS = {
    "v.pre_ln": f"{TOWER}pre_layrnorm",  # the field's spelling
    "v.post_ln": f"{TOWER}post_layernorm",
    "mm.0": f"{PROJECTOR}linear_1",
    "mm.2": f"{PROJECTOR}linear_2",
}
LAYER = {
    **{f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"},
    "attn_out": "self_attn.out_proj",
    "ln1": "layer_norm1",
    "ln2": "layer_norm2",
    "ffn_up": "mlp.fc1",
    "ffn_down": "mlp.fc2",
}
# Converters up to 2025 called the two the other way round.
SWAPPED = {**LAYER, "ffn_up": LAYER["ffn_down"], "ffn_down": LAYER["ffn_up"]}
IN_LAYER = re.compile(r"v\.blk\.(\d+)\.(\w+)\.(weight|bias)")


class Tensors(Mapping[str, Array]):
    """A file's tensors by the names that a checkpoint of transformers gives them, each dequantised when asked for.

    Raises UnsupportedModelError for a tensor that has no place in the tower.
    """

    def __init__(self, path: Path, header: Header) -> None:
        first = header.tensors.get("v.blk.0.ffn_down.weight")
        swapped = first is not None and first.shape[0] == vision(header.metadata, "embedding_length")
        self._names = {_name(name, SWAPPED if swapped else LAYER): name for name in header.tensors}
        if None in self._names:
            odd = [name for name in header.tensors if _name(name, LAYER) is None]
            raise UnsupportedModelError(f"{path}: {len(odd)} tensors have no place in the tower: {listing(odd[:5])}")
        self._tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}

    def __getitem__(self, name: str) -> Array:
        tensor = self._tensors[self._names[name]]
        value: Array = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        if not np.isfinite(value).all():
            raise CorruptModelError(f"tensor {tensor.name!r} holds NaN or infinity")
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name is not None)

    def __len__(self) -> int:
        return len(self._names)


def config_of(header: Header, path: Path) -> dict[str, Any]:
    """Return config.json's keys of the model that the tower belongs to; of the language model just what rows need."""
    metadata, tensors = header.metadata, header.tensors
    sizes = {"hidden_size": "embedding_length", "num_hidden_layers": "block_count"}
    sizes |= {"num_attention_heads": "attention.head_count", "image_size": "image_size", "patch_size": "patch_size"}
    tower: dict[str, Any] = {name: vision(metadata, key) for name, key in sizes.items()}
    first = tensors["v.blk.0.ffn_up.weight"].shape  # (in, out) of either of the two, whatever it is called
    tower["intermediate_size"] = first[0] if first[1] == tower["hidden_size"] else first[1]
    return {
        "model_type": "llava_next",
        "image_grid_pinpoints": [list(pinpoint) for pinpoint in image_spec_of(header, path).pinpoints],
        "vision_feature_layer": _feature_layer(header, path),
        "text_config": {"model_type": "llama", "hidden_size": tensors["mm.2.weight"].shape[-1]},
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_act": "gelu" if metadata.get("clip.use_gelu") else "quick_gelu",
            "layer_norm_eps": header.real("clip.vision.attention.layer_norm_epsilon", 1e-5),
            **tower,
        },
    }


def _name(name: str, layer: Mapping[str, str]) -> str | None:
    """Return what a checkpoint calls a tensor; None for one that it does not have."""
    if name in NAMES:
        return NAMES[name]
    if (found := IN_LAYER.fullmatch(name)) and found[2] in layer:
        return f"{TOWER}encoder.layers.{found[1]}.{layer[found[2]]}.{found[3]}"
    stem, _, part = name.rpartition(".")
    return f"{STEMS[stem]}.{part}" if stem in STEMS else None


def _feature_layer(header: Header, path: Path) -> int:
    """Return after how many layers the rows are taken.

    A file that does not say it was cut there, or has the whole tower, up to the norm after the last layer: then it is
    the last layer but one, as in every LLaVA.
    """
    metadata = header.metadata
    layers = vision(metadata, "block_count")
    listed = metadata.get("clip.vision.feature_layer")
    if listed is None:
        return layers - 1 if "v.post_ln.weight" in header.tensors else layers
    if not isinstance(listed, list) or len(listed) != 1 or not 0 <= listed[0] <= layers:
        raise UnsupportedModelError(
            f"{path}: clip.vision.feature_layer={listed!r} is not implemented; one layer of 0 to {layers} is"
        )
    return int(listed[0])
