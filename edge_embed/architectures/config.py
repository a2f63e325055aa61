"""What a checkpoint's config.json asks for: is all of it implemented, and which architecture is it?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing

# model_type of a model's own code -> the architecture that it is, told by how some tensor's name ends
OWN_CODE = {"jina_embeddings_v5": {"self_attn.q_norm.weight": "qwen3", "": "eurobert"}}


def architecture_of(model_type: str, names: Iterable[str]) -> str:
    """Return the architecture that stands behind a model_type of a model's own code, or the model_type itself."""
    known = OWN_CODE.get(model_type, {"": model_type})
    return next((name for end, name in known.items() if any(tensor.endswith(end) for tensor in names)), model_type)


def check_config(config: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]], needed: Sequence[str]) -> None:
    """Refuse a config without the `needed` keys, or with a value of an `allowed` key that is not implemented."""
    if missing := [key for key in needed if key not in config]:
        raise CorruptModelError(f"config.json lacks {listing(missing)}")
    for key, values in allowed.items():
        if key in config and config[key] not in values:
            raise UnsupportedModelError(
                f"config.json: {key}={config[key]!r} is not implemented; {' or '.join(map(repr, values))} is"
            )


def check_heads(size: int, heads: int) -> None:
    """Refuse heads that do not share the hidden size evenly."""
    if size % heads:
        raise CorruptModelError(f"config.json: hidden_size={size} is not a multiple of num_attention_heads={heads}")


def rope_of(config: Mapping[str, Any]) -> tuple[float, float]:
    """Return theta, from either place where transformers keeps it, and what positions are divided by (1: nothing).

    Scaling "linear" divides the positions; other kinds are refused, and so is a config that lost its theta.
    """
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    theta = rope.get("rope_theta", config.get("rope_theta"))
    kind = rope.get("rope_type", rope.get("type", "default"))
    if theta is None:
        raise CorruptModelError("config.json has no rope_theta, neither by itself nor in rope_parameters")
    if kind not in ("default", "linear"):
        raise UnsupportedModelError(f"config.json: rope_type={kind!r} is not implemented; 'default' and 'linear' are")
    if rope.get("partial_rotary_factor", config.get("partial_rotary_factor") or 1) != 1:
        raise UnsupportedModelError("config.json: partial_rotary_factor is not implemented")
    return float(theta), float(rope.get("factor", 1) if kind == "linear" else 1)
