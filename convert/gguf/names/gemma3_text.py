"""Gemma 3 in llama.cpp, which has one name for encoders and one for causal models; EmbeddingGemma."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edge_embed.architectures.gemma3_text import FULL, PATTERN, WINDOWED, Config
from edge_embed.errors import UnsupportedModelError

from . import THETA, Entry, Stated, Value, _llama
from ._llama import UNREAD

__all__ = ["CAUSAL_NAME", "DENSE", "NAME", "UNREAD", "config_of", "entries", "metadata"]

NAME, CAUSAL_NAME = "gemma-embedding", "gemma3"
DENSE = True
NORMS = {
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
WINDOW, LAYERS = "attention.sliding_window", "attention.sliding_window_pattern"
OTHERS = ("hidden_act", "is_causal", "rope_theta")  # of Llama, which Gemma has by other names
LAYERS_OF_27B = 62  # by which llama.cpp tells a model whose scores are divided by another number than the heads' width


def config_of(stated: Stated) -> dict[str, Any]:
    """Return config.json's values."""
    found = {key: value for key, value in _llama.config_of(stated).items() if key not in OTHERS}
    layers, causal = found["num_hidden_layers"], stated.header.architecture == CAUSAL_NAME
    window = stated.whole(WINDOW, 0, least=0)
    windowed = stated.layers(LAYERS, layers, (PATTERN, -1)) if window else [False] * layers
    near = {"rope_type": "default", "rope_theta": stated.real("rope.freq_base_swa", THETA)}
    wide = causal and layers == LAYERS_OF_27B
    return {
        **found,
        "hidden_activation": "gelu_pytorch_tanh",
        "layer_types": [WINDOWED if one else FULL for one in windowed],
        **({"sliding_window": window} if window else {}),
        "query_pre_attn_scalar": found["hidden_size"] // found["num_attention_heads"] if wide else found["head_dim"],
        "rope_parameters": {FULL: found["rope_parameters"], WINDOWED: near},
        "use_bidirectional_attention": not causal,
    }


def metadata(config: Config) -> dict[str, Value]:
    """Return llama.cpp's keys; raises UnsupportedModelError for numbers that it takes for granted."""
    wide = config.causal and config.num_hidden_layers == LAYERS_OF_27B
    divided = config.hidden_size // config.num_attention_heads if wide else config.head_dim
    for name, value, known in (
        ("query_pre_attn_scalar", config.query_pre_attn_scalar, divided),
        ("factor of sliding_attention", config.local_divisor, 1),
    ):
        if value != known:
            raise UnsupportedModelError(
                f"config.json: {name}={value}, where llama.cpp takes {known} for granted in Gemma 3: convert to ONNX "
                "or MLX instead"
            )
    if not config.causal and len({*config.windowed}) < 2:
        raise UnsupportedModelError(
            f"config.json: {'all' if any(config.windowed) else 'none'} of the layer_types are sliding_attention, and "
            "llama.cpp needs some that are and some that are not: convert to ONNX or MLX instead"
        )
    keys = {**_llama.metadata(config), "rope.freq_base_swa": config.local_theta}
    if any(config.windowed) or not config.causal:
        keys[WINDOW] = config.sliding_window
    if config.windowed != tuple(bool((n + 1) % PATTERN) for n in range(config.num_hidden_layers)):
        keys[LAYERS] = [int(one) for one in config.windowed]
    return keys


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors; a norm's gain is its weight and 1, which llama.cpp does not add."""
    listed = _llama.entries(config, norms=NORMS)
    return [replace(entry, shift=1) if len(entry.shape) == 1 else entry for entry in listed]
