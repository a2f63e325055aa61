"""CLIP's image tower (Radford et al. 2021, arXiv 2103.00020): what a vision_config says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from edge_embed.errors import CorruptModelError

from ._checks import check_config, check_heads, numbers

ALLOWED = {
    "hidden_act": ("quick_gelu", "gelu"),
    "model_type": ("clip_vision_model",),
    "num_channels": (3,),
}


@dataclass(frozen=True, kw_only=True)
class Tower:
    """The values that shape a tower; sizes in pixels."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    layer_norm_eps: float
    hidden_act: str

    @property
    def patches(self) -> int:
        """Patches of a tile."""
        return (self.image_size // self.patch_size) ** 2


def read_tower(vision: Mapping[str, Any]) -> Tower:
    """Read and check a complete vision_config."""
    names = [field.name for field in fields(Tower)]
    check_config(vision, ALLOWED, names)
    tower = numbers(Tower, vision)
    check_heads(tower.hidden_size, tower.num_attention_heads)
    if tower.image_size % tower.patch_size:
        raise CorruptModelError(
            f"config.json: image_size={tower.image_size} is not a multiple of patch_size={tower.patch_size}"
        )
    return tower


def unused(tower: Tower, layers: int) -> tuple[str, ...]:
    """List the names, without the tower's prefix, of which the first `layers` layers have no need."""
    later = (f"encoder.layers.{n}." for n in range(layers, tower.num_hidden_layers))
    return (*later, "post_layernorm.", "embeddings.position_ids")
