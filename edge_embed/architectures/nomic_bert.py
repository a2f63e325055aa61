"""NomicBERT (Nussbaum et al. 2024, arXiv 2402.01613): BERT with rotary positions and SwiGLU; nomic-embed-text-v1.5.

config.json has its numbers under GPT-2's names, as the model's own code reads them, or under BERT's, as transformers
has them since 5.20, or both; tensors are called as in the one or in the other.

Models: nomic-embed-text-v1 and v1.5, snowflake-arctic-embed-m-long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.spec.values import shown

from ._checks import CONFIG, check_config, real, section, whole
from ._post_norm import FLASH, TABLE, UNUSED, Config, read_rotary
from ._renamed import Renamed

__all__ = ["ATTENTION", "PREFIXES", "RENAMED", "TABLE", "UNUSED", "Config", "read", "settled", "text_values", "window"]

ATTENTION: Final = "full"
PREFIXES = ("nomic_bert.", "bert.")
LAYER = r"encoder\.layers\.(\d+)\."
RENAMED = (
    *FLASH,
    Renamed(LAYER + r"attn\.Wqkv", tuple(rf"layers.\1.self_attn.{x}_proj" for x in "qkv")),
    Renamed(LAYER + r"attn\.out_proj", (r"layers.\1.self_attn.o_proj",)),
    Renamed(LAYER + r"mlp\.fc11", (r"layers.\1.mlp.up_proj",)),
    Renamed(LAYER + r"mlp\.fc12", (r"layers.\1.mlp.gate_proj",)),
    Renamed(LAYER + r"mlp\.fc2", (r"layers.\1.mlp.down_proj",)),
)
# What stands for a key that config.json leaves out: in transformers, and in the model's own code.
CLASS_DEFAULTS = {"layer_norm_eps": 1e-12, "type_vocab_size": 2, "hidden_act": "silu"}
THETA = 1000.0
DEFAULTS: dict[str, Any] = {
    **{"activation_function": "gelu_new", "rotary_emb_fraction": 0.0, "rotary_emb_base": 10_000.0},
    **{"qkv_proj_bias": True, "mlp_fc1_bias": True, "mlp_fc2_bias": True, "layer_norm_eps": 1e-5},
    **{"pad_vocab_size_multiple": 1, "max_trained_positions": 2048, "type_vocab_size": 2},
}
ALLOWED = {
    "activation_function": ("swiglu",),
    "rotary_emb_fraction": (1.0,),
    "rotary_emb_interleaved": (False,),
    "rotary_emb_scale_base": (None,),
    **dict.fromkeys(("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"), (False,)),
    **dict.fromkeys(("prenorm", "parallel_block", "use_rms_norm", "causal", "rotary_head_dim"), (False,)),
    "num_heads_kv": (None,),
}
BERTS = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "layer_norm_epsilon": "layer_norm_eps",
}
POSITIONS = ("max_position_embeddings", "n_positions", "max_trained_positions")
MULTIPLE = 256  # the model's own code rounds the MLP's width up to one


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the values, as transformers calls them."""
    _refuse_experts(config)
    rope = section(config, "rope_scaling") or section(config, "rope_parameters")
    if rope.get("rope_type", rope.get("type")) == "dynamic":  # which changes nothing up to max_position_embeddings
        config = {**config, "rope_scaling": None, "rope_parameters": {**rope, "rope_type": "default"}}
    found = read_rotary({**CLASS_DEFAULTS, **config}, gated=True, theta=THETA, biases=False, activations=("silu",))
    if whole(config, "head_dim", found.head_dim) != found.head_dim:
        raise CorruptModelError(
            f"{CONFIG}: {found.num_attention_heads} heads of {config['head_dim']} numbers do not share "
            f"hidden_size={found.hidden_size}"
        )
    return found


def settled(config: Mapping[str, Any], tensors: Iterable[str]) -> dict[str, Any]:
    """Return config.json in transformers' dialect; raise UnsupportedModelError for what that cannot say."""
    _refuse_experts(config)
    if not _own(config):
        return dict(config)
    values = {**DEFAULTS, **text_values(config)}
    check_config(values, ALLOWED, ("hidden_size", "vocab_size"))
    theta = real(values, "rotary_emb_base")
    rope = {"rope_type": "default", "rope_theta": theta, **section(config, "rope_parameters")}
    inner = whole(values, "intermediate_size", int(8 * whole(values, "hidden_size") / 3))
    return {
        **{key: value for key, value in values.items() if key not in (*BERTS, *ALLOWED)},
        "hidden_act": config.get("hidden_act", "silu"),
        "intermediate_size": _rounded(inner, MULTIPLE),
        "vocab_size": _rounded(whole(values, "vocab_size"), whole(values, "pad_vocab_size_multiple")),
        "rope_parameters": rope,
    }


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
    trained = {"max_trained_positions": DEFAULTS["max_trained_positions"]} if _own(config) else {}
    stated = {**trained, **config}
    positions = [stated[key] for key in POSITIONS if isinstance(stated.get(key), int)]
    return {**values, **({"max_position_embeddings": min(positions)} if positions else {})}


def window(config: Mapping[str, Any]) -> int | None:
    """Return the longest text whose positions are not scaled; None where no length's are."""
    rope = section(config, "rope_scaling") or section(config, "rope_parameters")
    scaled = config.get("rotary_scaling_factor") or rope.get("rope_type", rope.get("type")) == "dynamic"
    return whole(text_values(config), "max_position_embeddings") if scaled else None


def _refuse_experts(config: Mapping[str, Any]) -> None:
    if config.get("moe_every_n_layers"):
        raise UnsupportedModelError(
            f"{CONFIG}: moe_every_n_layers={shown(config['moe_every_n_layers'])} is not implemented: models with "
            "experts, as nomic-embed-text-v2-moe is, cannot run here; nomic-embed-text-v1 and v1.5 can"
        )


def _own(config: Mapping[str, Any]) -> bool:
    """Whether it is the model's own code that reads this config.json, and fills in what it leaves out."""
    return "n_embd" in config


def _rounded(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
