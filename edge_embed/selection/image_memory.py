"""How much memory an image part takes, and how many rows of an image a language model reads, from headers alone.

Measured in ONNX Runtime on towers of jina-clip-v1's and E5-V's shapes, eight tiles at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from edge_embed.formats.json_file import read_object
from edge_embed.formats.onnx import read_graph
from edge_embed.images.tiles import TILES_AT_ONCE, packed_rows
from edge_embed.layouts.folder import ModelFolder
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.values import plausible
from edge_embed.spec.weights import Weights

HEAD = 64  # numbers of a tower's attention head
# Buffers alive at once for each patch, of the MLP's width and of the tower's: in CLIP's towers, and in EVA02's, whose
# MLP is gated and whose attention rotates.
CLIP, ROTARY = (2.0, 4.4), (4.0, 12.0)
SESSION = 6 << 20
KEPT = {"float16": 2.2}  # ONNX Runtime's CPU kernels are float32's: weights of 16 bits are kept twice as long
PACKED = 1.04


@dataclass(frozen=True)
class ImageTower:
    """An image part: its weights' bytes, the side of a patch in pixels, its width, its MLP's, and what it is made of.

    `plain`: attention is no one operator, so that scores of all patches with all are kept.
    """

    weights: int
    patch: int
    dim: int
    width: int
    rotary: bool = False
    plain: bool = False

    def compute(self, spec: ModelSpec) -> int:
        """Return the bytes that as many tiles take as a backend computes at once."""
        assert spec.image is not None
        height, across = spec.image.size
        patches = (height // self.patch) * (across // self.patch) + 1
        mlp, own = ROTARY if self.rotary else CLIP
        floats = patches * (mlp * self.width + own * self.dim) + 2 * 3 * height * across  # pixels, and their copy
        if spec.image_token is not None:
            floats += 2 * patches * spec.width  # the rows that the language model reads
        if self.plain:
            floats += 2 * patches * patches * self.dim / HEAD
        return int(4 * TILES_AT_ONCE * floats)


def read_tower(model: ModelFolder, weights: Weights) -> ImageTower:
    """Read what the files of an image part say of it."""
    sizes = sum(model.files.sizes.get(file.path) or 0 for file in weights.files)
    if weights.format != "onnx":  # its shape is in config.json
        vision = _vision(model.folder)
        dim = vision.get("hidden_size") or vision.get("width") or 1024
        kept = sizes * (KEPT["float16"] if weights.format == "gguf" else 1)
        return ImageTower(int(kept), vision.get("patch_size", 14), dim, vision.get("intermediate_size", 4 * dim))
    graph = read_graph(model.files.header(weights.files[0].path))
    kernels = (weight.shape for weight in graph.weights.values() if len(weight.shape) == 4 and min(weight.shape) > 0)
    kernel = next(kernels, (1024, 3, 14, 14))
    matrices = [weight.shape for weight in graph.weights.values() if len(weight.shape) == 2]
    width = max((max(shape) for shape in matrices if kernel[0] in shape), default=4 * kernel[0])
    kept = sum(weight.size for weight in graph.weights.values()) * KEPT.get(weights.level, PACKED) + SESSION
    ops = {node.op for node in graph.nodes}
    return ImageTower(int(kept), kernel[2], kernel[0], width, "RotaryEmbedding" in ops, "Softmax" in ops)


def max_image_rows(spec: ModelSpec, patch: int) -> int:
    """Return how many rows an image has at most, among the tokens of a model that reads it there; else 0."""
    if spec.image_token is None or spec.image is None:
        return 0
    tile = spec.image.size
    grid = (tile[0] // patch, tile[1] // patch)
    if not spec.image.pinpoints:
        return math.prod(grid)
    return max(len(packed_rows(pin, spec.image.pinpoints, tile, grid)) for pin in spec.image.pinpoints)


def _vision(folder: Path) -> dict[str, int]:
    values = read_object(folder / "config.json", {}).get("vision_config")
    values = values if isinstance(values, dict) else {}
    return {key: value for key, value in values.items() if plausible(value, 0)}
