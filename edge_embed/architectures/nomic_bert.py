"""NomicBERT (Nussbaum et al. 2024, arXiv 2402.01613): BERT with rotary positions and SwiGLU; nomic-embed-text-v1.5.

config.json has its numbers under GPT-2's names, as the model's own code reads them, or under BERT's, as transformers 5
does, or both. Tensors are called as in the one or in the other; here, as in the model's own code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.spec.values import shown

from . import _bert
from ._checks import CONFIG, check_config, check_heads, check_layers, real, section, whole
from ._rotary import read_theta

__all__ = ["ATTENTION", "PREFIXES", "TABLE", "UNUSED", "Config", "class_config", "read", "sources", "text_values"]

ATTENTION: Final = "full"
PREFIXES = ("nomic_bert.", "bert.")
UNUSED = ("pooler.", "cls.", "classifier.", "embeddings.position_ids")
TABLE = "word_embeddings"
NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
BERTS = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "layer_norm_epsilon": "layer_norm_eps",
}
POSITIONS = ("max_position_embeddings", "n_positions", "max_trained_positions")
# What stands for a key that config.json leaves out: in the model's own code, and in transformers.
DEFAULTS: dict[str, Any] = {
    **{"activation_function": "gelu_new", "rotary_emb_fraction": 0.0, "rotary_emb_base": 10_000.0},
    **{"qkv_proj_bias": True, "mlp_fc1_bias": True, "mlp_fc2_bias": True, "layer_norm_eps": 1e-5},
    **{"pad_vocab_size_multiple": 1, "max_trained_positions": 2048, "type_vocab_size": 2},
}
BERT_DEFAULTS = {"layer_norm_eps": 1e-12, "type_vocab_size": 2}
THETA = 1000.0  # of transformers' class
ALLOWED = {
    "activation_function": ("swiglu",),
    "rotary_emb_fraction": (1.0,),
    "rotary_emb_interleaved": (False,),
    "rotary_emb_scale_base": (None,),
    **dict.fromkeys(("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"), (False,)),
    **dict.fromkeys(("prenorm", "parallel_block", "use_rms_norm", "causal", "rotary_head_dim"), (False,)),
    "num_heads_kv": (None,),
    "hidden_act": ("silu",),
}
MULTIPLE = 256  # the model's own code rounds the MLP's width up to one
# Names of transformers' class -> those of the model's own code.
OWN_NAMES = {
    r"^((?:nomic_bert\.)?)layers\.": r"\1encoder.layers.",
    r"embeddings\.LayerNorm": "emb_ln",
    r"self_attn\.[qkv]_proj": "attn.Wqkv",
    r"self_attn\.o_proj": "attn.out_proj",
    r"mlp\.up_proj": "mlp.fc11",
    r"mlp\.gate_proj": "mlp.fc12",
    r"mlp\.down_proj": "mlp.fc2",
    r"post_attention_layernorm": "norm1",
    r"post_mlp_layernorm": "norm2",
}
STACKED = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True, kw_only=True)
class Config(_bert.Config):
    """The values that shape a model."""

    rope_theta: float

    @property
    def head_dim(self) -> int:
        """The width of one head."""
        return self.hidden_size // self.num_attention_heads


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the values, in either dialect; errors name them as BERT does."""
    if config.get("moe_every_n_layers"):
        raise UnsupportedModelError(
            f"{CONFIG}: moe_every_n_layers={shown(config['moe_every_n_layers'])} is not implemented: models with "
            "experts, as nomic-embed-text-v2-moe is, cannot run here; nomic-embed-text-v1 and v1.5 can"
        )
    values = {**(DEFAULTS if _own(config) else BERT_DEFAULTS), **text_values(config)}
    check_config(values, ALLOWED, NEEDED)
    size, heads, layers = (whole(values, key) for key in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    check_layers(layers)
    check_heads(size, heads)
    if size // heads % 2 or whole(values, "head_dim", size // heads) != size // heads:
        raise CorruptModelError(
            f"{CONFIG}: {heads} heads of {shown(values.get('head_dim', size // heads))} numbers do not share "
            f"hidden_size={size} in pairs that turn"
        )
    return Config(
        hidden_size=size,
        intermediate_size=_inner(values, size),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        layer_norm_eps=real(values, "layer_norm_eps"),
        vocab_size=_rounded(whole(values, "vocab_size"), whole(values, "pad_vocab_size_multiple", 1)),
        type_vocab_size=whole(values, "type_vocab_size"),
        rope_theta=_theta(values),
    )


def text_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json's values under BERT's names as well, with the positions up to which rotations are as trained.

    Past `max_trained_positions` a rotary_scaling_factor (dynamic NTK) would turn a text by its own length, for which
    llama.cpp has no equal; up to there it changes nothing. Raises CorruptModelError for dialects that contradict.
    """
    values = dict(config)
    for own, name in BERTS.items():
        if config.get(own) is None:
            continue
        if config.get(name, config[own]) != config[own]:
            raise CorruptModelError(
                f"{CONFIG}: {own}={shown(config[own])} and {name}={shown(config[name])} are two names of one number"
            )
        values[name] = config[own]
    stated = {**({"max_trained_positions": DEFAULTS["max_trained_positions"]} if _own(config) else {}), **config}
    positions = [stated[key] for key in POSITIONS if isinstance(stated.get(key), int)]
    return {**values, **({"max_position_embeddings": min(positions)} if positions else {})}


def class_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json in the dialect that transformers' class reads."""
    found = vars(read(config))
    theta = {"rope_type": "default", "rope_theta": found["rope_theta"]}
    positions = {key: value for key, value in text_values(config).items() if key == POSITIONS[0]}
    own = {key: value for key, value in config.items() if key not in BERTS}
    numbers = {key: value for key, value in found.items() if key != "rope_theta"}
    return {**own, **numbers, **positions, "hidden_act": "silu", "rope_parameters": theta}


def sources(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return of which of the tensors, one below the other, each consists that the model's own code has a name for."""
    found: dict[str, list[str]] = {}
    for name in names:
        own = name
        for pattern, renamed in OWN_NAMES.items():
            own = re.sub(pattern, renamed, own)
        found.setdefault(own, []).append(name)
    return {own: tuple(sorted(parts, key=_order)) for own, parts in found.items()}


def _order(name: str) -> int:
    return next((n for n, part in enumerate(STACKED) if part in name), 0)


def _own(config: Mapping[str, Any]) -> bool:
    """Whether it is the model's own code that reads this config.json, and fills in what it leaves out."""
    return "n_embd" in config


def _inner(values: Mapping[str, Any], size: int) -> int:
    """Return the MLP's width, which the model's own code rounds up."""
    if not _own(values):
        return whole(values, "intermediate_size")
    return _rounded(whole(values, "intermediate_size", int(8 * size / 3)), MULTIPLE)


def _rounded(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _theta(values: Mapping[str, Any]) -> float:
    """Return theta from where either dialect keeps it."""
    rope = section(values, "rope_scaling") or section(values, "rope_parameters")
    stated = values.get("rope_theta", values.get("rotary_emb_base", THETA))
    return read_theta(rope, stated, ("default", "dynamic"))
