"""A checkpoint -> one that computes the same with massive channels, as large trained models have them.

A few outputs of every norm are up to a hundred times too large, which is undone in the weights that read them: see
Sun et al. 2024, arXiv 2402.17762.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_embed_convert.checkpoint.safetensors import write_safetensors
from edge_embed_convert.publishing.layout import write_layout
from edge_embed_convert.variant import open_variant

FACTORS = (30, 55, 100)  # by how much a layer's channels are too large
Array = NDArray[np.float32]
# What makes the channels, and what reads them. BERT's norms feed the residual too, so its values are what can be.
LLAMA = (
    ("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    ("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj")),
)
BERT = (("attention.self.value", ("attention.output.dense",)),)


def make(base: Path, out: Path, task: str | None = None) -> Path:
    """Write such a checkpoint into the new folder `out`; `task` merges one of the base's adapters."""
    source = open_variant(base, None, task, None, {})
    out.mkdir(parents=True)
    write_layout(out, source, source.spec)
    write_safetensors(plant(source.tensors), out / "model.safetensors")
    return out


def plant(tensors: Mapping[str, Array], factors: Sequence[float] = FACTORS) -> dict[str, Array]:
    """Return the tensors with a massive channel for each factor in every norm."""
    planted = {name: tensors[name] for name in tensors}
    rng = np.random.default_rng(0)
    for maker, readers in _places(planted):
        scale = np.ones(len(planted[maker[0]]), np.float32)
        scale[rng.choice(len(scale), len(factors), replace=False)] = factors
        for name in maker:
            planted[name] = (planted[name].T * scale).T
        for name in readers:
            planted[name] = planted[name] / scale
    return planted


def _places(tensors: Mapping[str, Array]) -> Iterator[tuple[list[str], list[str]]]:
    """Give the tensors that make channels, gain or weight and bias, and those that read them, layer by layer."""
    for made, read in (*LLAMA, *BERT):
        for name in tensors:
            if name.endswith(f"{made}.weight"):
                at = name.removesuffix(f"{made}.weight")
                makers = [name, *(bias for bias in [f"{at}{made}.bias"] if bias in tensors)]
                yield makers, [f"{at}{reader}.weight" for reader in read]
