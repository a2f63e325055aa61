"""How much memory OpenVINO takes for a graph."""

from __future__ import annotations

from edge_embed.backends.footprint import Footprint, Model, touched
from edge_embed.backends.onnx.footprint import products_and_tables
from edge_embed.formats.onnx import read_graph
from edge_embed.spec.weights import Weights

COPIES = 6, 10  # buffers of the MLP's width and of the model's that are alive at once, for each token


def footprint(model: Model, weights: Weights, tokens: int, longest: int) -> Footprint:
    """Predict what a graph takes for a batch of `tokens` tokens.

    While it is opened weights lie in memory as they are in the file, beside those in the kernels' order, and tables of
    floats with them: of nano's shape 366 MB at int8 and 1,378 MB in float32, where 415 and 1,502 are predicted.
    """
    graph = read_graph(model.header(weights.files[0].path))
    packed, looked_up, width = products_and_tables(graph, model.spec.width)
    compute = 4 * tokens * (COPIES[0] * width + COPIES[1] * model.spec.width)
    opening = packed + (looked_up if weights.level in ("float32", "float16") else 0)
    return Footprint(weights=packed + touched(looked_up, tokens), compute=max(compute, opening))
