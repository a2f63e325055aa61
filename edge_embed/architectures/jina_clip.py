"""config.json of jina-clip-v1: both towers' numbers, where other repositories' settings fill gaps; no graph.

Text: JinaBERT-v2 (Günther et al. 2023, arXiv 2310.19923). Image: EVA02-B/16 (Fang et al. 2023, arXiv 2303.11331) as
EVA-CLIP configures it.

Models: jina-clip-v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import CorruptModelError, UnsupportedModelError

from ._checks import check_config, check_layers, real, section, whole
from ._post_norm import FLASH, Config, read_alibi
from ._renamed import Renamed

ATTENTION: Final = "full"
PREFIXES = ("text_model.transformer.",)
UNUSED = ("vision_model.", "logit_scale")
TABLE = "word_embeddings"
IMAGE_PREFIXES = ("vision_model.",)
RENAMED = (
    *FLASH,
    Renamed(r"encoder\.layers\.(\d+)\.mlp\.gated_layers", (r"layers.\1.mlp.gate_proj", r"layers.\1.mlp.up_proj")),
    Renamed(r"encoder\.layers\.(\d+)\.mlp\.wo", (r"layers.\1.mlp.down_proj",)),
)
EPSILON = 1e-6  # of the image tower's norms
THETA = 1e4
ALLOWED = {"model_type": ("jina_clip",), "add_projections": (False,)}
ALLOWED_TEXT = {
    "hf_model_name_or_path": ("jinaai/jina-bert-flash-implementation",),
    "pooler_type": ("mean_pooler",),
    "proj_type": (None,),
}
# config.json names the text tower's repository and says what differs from it. That repository says this; the number of
# parameters that the hub states for the whole model, 222,672,128, is met by it exactly.
PUBLISHED = {
    "hidden_act": "gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "position_embedding_type": "alibi",
    "type_vocab_size": 2,
    "use_qk_norm": False,
    "vocab_size": 30528,
}
ALLOWED_SHAPE = {
    "hidden_act": ("gelu",),
    "position_embedding_type": ("alibi",),
    "use_qk_norm": (False,),
}
NEEDED = ("embed_dim", "head_width", "image_size", "layers", "mlp_ratio", "patch_size", "width")
# What EVA02-CLIP-B/16 sets; a key that is absent has the value that stands first.
SET = {
    "intp_freq": (False, True),
    "ls_init_value": (None,),
    "naive_swiglu": (True,),
    "post_norm": (False,),
    "proj_type": (None,),
    "qkv_bias": (True,),
    "rope_embeddings": (True,),
    "subln": (True,),
}


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the text tower's numbers.

    Raises UnsupportedModelError for another tower or a value that is not implemented, CorruptModelError for sizes that
    contradict one another.
    """
    check_config(config, ALLOWED, ("model_type", "text_config"))
    text = section(config, "text_config")
    check_config(text, ALLOWED_TEXT, ("hf_model_name_or_path", "pooler_type"))
    shape = {**PUBLISHED, **section(text, "hf_model_config_kwargs")}
    check_config(shape, ALLOWED_SHAPE, ())
    found = read_alibi(shape)
    dim = found.hidden_size
    if text.get("embed_dim", 768) != dim:
        raise UnsupportedModelError(f"config.json: embed_dim={text.get('embed_dim')} is not the text tower's {dim}")
    return found


@dataclass(frozen=True)
class ImageConfig:
    """The numbers of vision_config; `grid` patches a side, `trained` patches a side whose positions the angles span."""

    dim: int
    inner: int
    heads: int
    layers: int
    patch: int
    grid: int
    trained: float

    @property
    def head_dim(self) -> int:
        """Channels of one head."""
        return self.dim // self.heads

    @property
    def image_size(self) -> int:
        """The side of an image in pixels."""
        return self.grid * self.patch


def read_image(config: Mapping[str, Any]) -> ImageConfig:
    """Read and check config.json's vision_config; raises for values that would change the vectors."""
    check_config(config, {"add_projections": (False,)}, ("vision_config",))
    vision = section(config, "vision_config")
    check_config(vision, SET, (*NEEDED, "naive_swiglu", "rope_embeddings", "subln"))
    dim, patch, image, head = (whole(vision, key) for key in ("width", "patch_size", "image_size", "head_width"))
    layers, ratio = whole(vision, "layers"), real(vision, "mlp_ratio")
    check_layers(layers)
    if vision["embed_dim"] != dim:
        raise UnsupportedModelError(f"config.json: embed_dim={vision['embed_dim']} needs a projection from width={dim}")
    if dim % head or head % 4 or image % patch or not ratio:
        raise CorruptModelError(f"config.json: width={dim}, head_width={head}, image_size={image}, patch_size={patch}")
    grid = image // patch
    trained = real(vision, "pt_hw_seq_len", 16) if vision.get("intp_freq", False) else grid
    return ImageConfig(dim, int(dim * ratio), dim // head, layers, patch, grid, trained)


def image_unused(tower: ImageConfig) -> tuple[str, ...]:
    """List how the names of tensors begin that are not read: the text part, and tables that are computed here."""
    return ("text_model.", "logit_scale", "rope.", *(f"blocks.{n}.attn.rope." for n in range(tower.layers)))


def angles(tower: ImageConfig) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return cosines and sines (1 + grid * grid, head_dim / 2): the class token's row turns nothing.

    The first half of the pairs turns with the line, the second with the column (Su et al. 2021 in two dimensions).
    """
    half = tower.head_dim // 2
    frequencies = THETA ** -(np.arange(0, half, 2, dtype=np.float64) / half)
    positions = np.arange(tower.grid) / tower.grid * tower.trained
    along = positions[:, None] * frequencies
    angle = np.zeros((1 + tower.grid**2, half))
    angle[1:, : half // 2] = np.repeat(along, tower.grid, axis=0)
    angle[1:, half // 2 :] = np.tile(along, (tower.grid, 1))
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
