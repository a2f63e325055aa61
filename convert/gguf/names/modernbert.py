"""ModernBERT in llama.cpp, which computes GELU with tanh whatever `hidden_activation` says."""

from __future__ import annotations

from typing import Any

from edge_embed.architectures.modernbert import Config
from edge_embed.errors import UnsupportedModelError, listing

from . import SHAPE, THETA, VOCABULARY, Entry, Stated, Value

NAME = "modern-bert"
WINDOW, PATTERN = "attention.sliding_window", "attention.sliding_window_pattern"
PERIOD = (3, 0)  # llama.cpp's, for a file that states none
THETAS = ("full_attention", "sliding_attention")


def metadata(config: Config) -> dict[str, Value]:
    """Return llama.cpp's keys; it halves the window. Layers are told by a period, or one by one."""
    near: dict[str, Value] = {}
    if any(config.local):
        near = {
            WINDOW: config.window,
            PATTERN: _pattern(config.local),
            "rope.freq_base_swa": config.local_theta,
        }
    return {
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "hidden_activation": config.hidden_activation,
        "attention.head_count": config.num_attention_heads,
        "attention.layer_norm_epsilon": config.norm_eps,
        "attention.causal": False,
        "rope.freq_base": config.theta,
        "rope.scaling.type": "none",
        **near,
    }


def config_of(stated: Stated) -> dict[str, Any]:
    """Return config.json's values."""
    found = stated.counts(SHAPE)
    layers, window = found["num_hidden_layers"], stated.whole(WINDOW, 0, least=0)
    local = stated.layers(PATTERN, layers, PERIOD) if window else [False] * layers
    theta = stated.real("rope.freq_base", THETA)
    thetas = dict(zip(THETAS, (theta, stated.real("rope.freq_base_swa", THETA)), strict=True))
    return {
        **found,
        "vocab_size": stated.rows(VOCABULARY),
        "norm_eps": stated.real("attention.layer_norm_epsilon"),
        "hidden_activation": stated.text("hidden_activation", "gelu"),
        "max_position_embeddings": stated.whole("context_length"),
        "layer_types": [THETAS[one] for one in local],
        **({"local_attention": window} if window else {}),
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": value} for kind, value in thetas.items()},
    }


def entries(config: Config, max_tokens: int) -> list[Entry]:
    """List the tensors; raises UnsupportedModelError for what llama.cpp cannot: biases, a window in every layer."""
    if biases := [name for name in ("norm_bias", "attention_bias", "mlp_bias") if getattr(config, name)]:
        raise UnsupportedModelError(
            f"config.json: {listing(biases)} true, and llama.cpp's ModernBERT has no biases: convert to ONNX or MLX "
            "instead"
        )
    if all(config.local):
        raise UnsupportedModelError(
            "config.json: every layer sees a window alone, and llama.cpp needs one that sees all: convert to ONNX or "
            "MLX instead"
        )
    dim = config.hidden_size
    listed = [
        Entry(VOCABULARY, "embeddings.tok_embeddings.weight", (config.vocab_size, dim)),
        _norm("token_embd_norm", "embeddings.norm", dim),
    ]
    for n in range(config.num_hidden_layers):
        listed += _layer(config, n)
    return [*listed, _norm("output_norm", "final_norm", dim)]


def _layer(config: Config, n: int) -> list[Entry]:
    to, at, dim, inner = f"blk.{n}.", f"layers.{n}.", config.hidden_size, config.intermediate_size
    linears = {
        "attn_qkv": ("attn.Wqkv", (3 * dim, dim)),
        "attn_output": ("attn.Wo", (dim, dim)),
        "ffn_up": ("mlp.Wi", (2 * inner, dim)),  # what is activated, then what it scales
        "ffn_down": ("mlp.Wo", (dim, inner)),
    }
    norms = [_norm(f"{to}attn_norm", f"{at}attn_norm", dim)] if n else []
    return [
        *norms,
        _norm(f"{to}ffn_norm", f"{at}mlp_norm", dim),
        *(
            Entry(f"{to}{name}.weight", f"{at}{source}.weight", size, moments=f"{at}{source}")
            for name, (source, size) in linears.items()
        ),
    ]


def _norm(name: str, source: str, dim: int) -> Entry:
    return Entry(f"{name}.weight", f"{source}.weight", (dim,))


def _pattern(local: tuple[bool, ...]) -> int | list[bool]:
    """Return the number n of which every n-th layer from the first is no local one, or of each layer whether it is."""
    periods = range(1, len(local) + 1)
    return next((n for n in periods if local == tuple(i % n != 0 for i in range(len(local)))), [*local])
