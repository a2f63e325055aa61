"""CLIP's towers (Radford et al. 2021, arXiv 2103.00020) as transformers computes them; SigLIP shares their layers.

Names of tensors begin with what `at` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edge_embed.architectures._clip import Layers, TextTower, Tower

from ...checkpoint.smooth import Pair
from ...checkpoint.source import Reader
from ..builder import MICROSOFT, Builder
from ..levels import linear, linear_with_bias, table
from ._patches import patches
from ._rows import Pick

Attention = Callable[..., str]  # (b, read, shape, at, x, pick) -> what attended, before its last product


def hidden_state(b: Builder, tower: Tower, read: Reader, layers: int, at: str = "", pick: Pick | None = None) -> str:
    """Add the tower up to its n-th layer: `pixel_values` (batch, 3, height, width) -> (batch, 1 + patches, dim).

    The class token's row comes first. With `pick` the last layer gives the rows that it takes.
    """
    dim, patch = tower.hidden_size, tower.patch_size
    x = patches(
        b,
        read(f"{at}embeddings.patch_embedding.weight", dim, 3, patch, patch),
        None,
        read(f"{at}embeddings.class_embedding", dim),
        read(f"{at}embeddings.position_embedding.weight", 1 + tower.patches, dim),
    )
    x = norm(b, read, tower, f"{at}pre_layrnorm", x)  # the field's spelling
    return stack(b, read, tower, at, x, attend, pick, layers)


def embeddings(b: Builder, read: Reader, tower: TextTower, at: str) -> str:
    """Add the rows of a text's words and places: `input_ids` (batch, tokens) -> (batch, tokens, dim)."""
    dim, length = tower.hidden_size, tower.max_position_embeddings
    words = read(f"{at}embeddings.token_embedding.weight", tower.vocab_size, dim)
    positions = read(f"{at}embeddings.position_embedding.weight", length, dim)
    tokens = b.node("Shape", "input_ids", start=1, end=2)
    zero, one = b.constant([0], np.int64), b.constant([1], np.int64)
    position = b.node("Slice", b.weight("embeddings.position", positions[None]), zero, tokens, one)
    return b.node("Add", table(b, "input_ids", "embeddings.word", words), position)


def stack(
    b: Builder,
    read: Reader,
    shape: Layers,
    at: str,
    x: str,
    attention: Attention,
    pick: Pick | None = None,
    layers: int | None = None,
) -> str:
    """Add the first `layers` layers, or all; with `pick` the last one gives the rows alone that it takes."""
    count = shape.num_hidden_layers if layers is None else layers
    for n in range(count):
        x = _layer(b, read, shape, f"{at}encoder.layers.{n}.", x, attention, pick if n == count - 1 else None)
    return x


def _layer(b: Builder, read: Reader, shape: Layers, at: str, x: str, attention: Attention, pick: Pick | None) -> str:
    dim = shape.hidden_size
    attended = attention(b, read, shape, f"{at}self_attn.", norm(b, read, shape, f"{at}layer_norm1", x), pick)
    x = x if pick is None else pick(x)
    x = b.node("Add", x, linear_with_bias(b, read, f"{at}self_attn.out_proj", attended, dim, dim))
    return b.node("Add", x, mlp(b, read, shape, f"{at}mlp.", norm(b, read, shape, f"{at}layer_norm2", x)))


def smooth_pairs(shape: Layers, at: str, end: tuple[str, str] | None) -> list[Pair]:
    """List what makes the channels that linear layers read: norms, and values; `end`: a last norm, and what reads it.

    GELU is not linear, so that nothing can be moved through it. With an end, the last layer's queries are those of one
    row, and its keys and values a product of their own.
    """
    pairs = []
    for n in range(shape.num_hidden_layers):
        layer = f"{at}encoder.layers.{n}."
        keys = "kv" if end and n == shape.num_hidden_layers - 1 else "qkv"
        pairs += [
            _pair(f"{layer}layer_norm1", [f"{layer}self_attn.{x}_proj" for x in "qkv"], f"{layer}self_attn.{keys}"),
            _pair(f"{layer}self_attn.v_proj", [f"{layer}self_attn.out_proj"]),
            _pair(f"{layer}layer_norm2", [f"{layer}mlp.fc1"]),
        ]
    return [*pairs, *([_pair(f"{at}{end[0]}", [end[1]])] if end else [])]


def _pair(maker: str, readers: Sequence[str], layer: str = "") -> Pair:
    weights = tuple(f"{reader}.weight" for reader in readers)
    return Pair(f"{maker}.weight", weights, layer or readers[0], bias=f"{maker}.bias")


def mlp(b: Builder, read: Reader, shape: Layers, at: str, x: str) -> str:
    """Add two products and the activation between them."""
    dim, inner = shape.hidden_size, shape.intermediate_size
    active = activation(b, shape.hidden_act, linear_with_bias(b, read, f"{at}fc1", x, inner, dim))
    return linear_with_bias(b, read, f"{at}fc2", active, dim, inner)


def attend(b: Builder, read: Reader, shape: Layers, at: str, x: str, pick: Pick | None) -> str:
    """Attend from every row, or from those that `pick` takes, to every row."""
    q, k, v, biases = products(b, read, shape, at, x, pick)
    shift = b.weight(f"{at}qkv.bias", np.concatenate(biases))
    return b.node("MultiHeadAttention", q, k, v, shift, domain=MICROSOFT, num_heads=shape.num_attention_heads)


def products(
    b: Builder, read: Reader, shape: Layers, at: str, x: str, pick: Pick | None
) -> tuple[str, str, str, list[NDArray[np.float32]]]:
    """Add queries, keys and values without their biases, which come fourth; queries of the rows that `pick` takes."""
    dim = shape.hidden_size
    parts = [f"{at}{name}_proj" for name in "qkv"]
    weights = [read(f"{part}.weight", dim, dim) for part in parts]
    biases = [read(f"{part}.bias", dim) for part in parts]
    split = partial(b.nodes, "Split", axis=-1)
    if pick is None:
        q, k, v = split(linear(b, x, f"{at}qkv", np.concatenate(weights)), outputs=3, num_outputs=3)
    else:
        q = linear(b, pick(x), f"{at}q_proj", weights[0])
        k, v = split(linear(b, x, f"{at}kv", np.concatenate(weights[1:])), outputs=2, num_outputs=2)
    return q, k, v, biases


def activation(b: Builder, name: str, x: str) -> str:
    """Add `gelu`, its tanh form, or `quick_gelu`, which is x * sigmoid(1.702 x)."""
    if name == "gelu":
        return b.node("Gelu", x, domain=MICROSOFT)
    if name == "gelu_pytorch_tanh":
        return b.node("FastGelu", x, domain=MICROSOFT)
    return b.node("QuickGelu", x, domain=MICROSOFT, alpha=1.702)


def norm(b: Builder, read: Reader, shape: Layers, at: str, x: str) -> str:
    """Normalise each row."""
    dim = shape.hidden_size
    return b.layer_norm(x, at, read(f"{at}.weight", dim), read(f"{at}.bias", dim), shape.layer_norm_eps)
