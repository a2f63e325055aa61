"""How much memory a table of token vectors takes: of a mapped file, the rows that texts have touched."""

from __future__ import annotations

from edge_embed.backends.footprint import Footprint, Model, touched
from edge_embed.formats.safetensors import safetensors_header
from edge_embed.spec.weights import Weights

from .backend import TOKENS_AT_ONCE


def footprint(model: Model, weights: Weights, tokens: int, longest: int) -> Footprint:
    """Predict what a table takes for batches of `tokens` tokens, however many of them have come before.

    The table is counted whole: after many texts every row was read.
    """
    header = safetensors_header(model.header(weights.files[0].path))
    sizes = [entry["data_offsets"][1] - entry["data_offsets"][0] for entry in header.values()]
    table = max(sizes, default=0)
    rows = min(tokens, TOKENS_AT_ONCE)
    return Footprint(weights=touched(table, table) + sum(sizes) - table, compute=2 * 4 * rows * model.spec.width)
