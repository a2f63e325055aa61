"""How much memory MLX takes for a model: on a CPU all in float32, one tensor after the other."""

from __future__ import annotations

from edge_embed.backends.footprint import Footprint, Model
from edge_embed.device.machine import this_device
from edge_embed.formats.safetensors import safetensors_header
from edge_embed.spec.weights import Weights

COPIES = 6, 14  # buffers of the MLP's width and of the model's, for each token: it frees less between operations


def footprint(model: Model, weights: Weights, tokens: int, longest: int) -> Footprint:
    """Predict what a model takes for a batch of `tokens` tokens."""
    whole, halves = 0, [0]
    for file in weights.files:
        for entry in safetensors_header(model.header(file.path)).values():
            start, stop = entry["data_offsets"]
            whole += stop - start
            halves += [stop - start] * (entry["dtype"] in ("F16", "BF16"))
    compute = 4 * tokens * (COPIES[0] * model.mlp_width + COPIES[1] * model.spec.width)
    if this_device().apple:
        return Footprint(weights=whole, compute=compute)
    return Footprint(weights=whole + sum(halves), compute=max(compute, *halves))
