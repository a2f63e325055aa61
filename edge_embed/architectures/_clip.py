"""What config.json says of CLIP's towers (Radford et al. 2021, arXiv 2103.00020), and of those with such layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from edge_embed.errors import CorruptModelError

from ._checks import check_config, check_heads, numbers, section

ALLOWED = {"hidden_act": ("gelu", "gelu_pytorch_tanh", "quick_gelu")}
ALLOWED_VISION = {**ALLOWED, "num_channels": (3,), "vision_use_head": (True,)}
# What the fields of transformers' CLIPVisionConfig are where nothing is said.
VISION: dict[str, Any] = {
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "image_size": 224,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-5,
    "num_attention_heads": 12,
    "num_channels": 3,
    "num_hidden_layers": 12,
    "patch_size": 32,
}


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The values that shape a tower's layers."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    layer_norm_eps: float
    hidden_act: str


@dataclass(frozen=True, kw_only=True)
class Tower(Layers):
    """A tower for images; sizes in pixels."""

    image_size: int
    patch_size: int

    @property
    def patches(self) -> int:
        """Patches of a tile."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True, kw_only=True)
class TextTower(Layers):
    """A tower for texts, whose positions are a table; its vectors have `dim` numbers."""

    vocab_size: int
    max_position_embeddings: int
    dim: int


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """The tower for images of a model that has one for texts too, and how many numbers its vectors have."""

    tower: Tower
    dim: int

    @property
    def image_size(self) -> int:
        """The side of an image in pixels."""
        return self.tower.image_size


Kind = TypeVar("Kind", bound=Layers)


def read_tower(vision: Mapping[str, Any], kind: str = "clip_vision_model") -> Tower:
    """Read and check a complete vision_config, whose model_type is `kind`."""
    tower = _read(Tower, vision, {**ALLOWED_VISION, "model_type": (kind,)})
    if tower.image_size % tower.patch_size:
        raise CorruptModelError(
            f"config.json: image_size={tower.image_size} is not a multiple of patch_size={tower.patch_size}"
        )
    return tower


def read_text(found: type[Kind], text: Mapping[str, Any], kind: str) -> Kind:
    """Read and check a complete text_config, with the length of a vector as `dim`; its model_type is `kind`."""
    return _read(found, text, {**ALLOWED, "model_type": (kind,)})


def complete(config: Mapping[str, Any], name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested config with what its class of transformers has where nothing is said.

    One that is called `NAME_dict`, as some files of CLIP's kin have it beside the other, wins with its own gaps.
    """
    found = {**defaults, **section(config, name)}
    older = section(config, f"{name}_dict")
    return {**found, **defaults, **older} if older else found


def unused(tower: Tower, layers: int) -> tuple[str, ...]:
    """List the names, without the tower's prefix, of which the first `layers` layers have no need."""
    later = (f"encoder.layers.{n}." for n in range(layers, tower.num_hidden_layers))
    return (*later, "post_layernorm.", "embeddings.position_ids")


def _read(found: type[Kind], values: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]]) -> Kind:
    check_config(values, allowed, [field.name for field in fields(found)])
    tower = numbers(found, values)
    check_heads(tower.hidden_size, tower.num_attention_heads)
    return tower
