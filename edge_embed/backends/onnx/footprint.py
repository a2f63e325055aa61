"""How much memory ONNX Runtime takes for a graph, or for the graph that a checkpoint will become."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_embed.architectures import tables
from edge_embed.backends.footprint import ATTENTION_COPIES, MLP_COPIES, Footprint, Model, touched
from edge_embed.formats.gguf import read_header
from edge_embed.formats.onnx import Graph, read_graph
from edge_embed.formats.safetensors import safetensors_header
from edge_embed.spec.weights import Level, Weights

# Times the weights of MatMulNBits: while its scales lie in memory as they were, beside the packed copy, and after the
# file's pages were given back (pages.py).
INT4_LOADING, INT4_KEPT = 1.45, 1.19
KEPT = 1.02  # times the weights of any other level
FEWER_COPIES = {"GroupQueryAttention": 3.3}  # buffers of the model's width, where attention copies less
GGUF_TABLE = "token_embd.weight"
TABLE_ENDS = (".weight", ".parametrizations.weight.original")  # the latter with factors of tasks beside it
BYTES_PER_WEIGHT: dict[Level, float] = {"float32": 4.0, "int8": 1.0, "int4": 0.64}


def footprint(model: Model, weights: Weights, tokens: int, longest: int) -> Footprint:
    """Predict what a graph takes for a batch of `tokens` tokens whose longest text has `longest`."""
    graph = read_graph(model.header(weights.files[0].path))
    ops = {op for node in graph.nodes for op in (node.op, *node.inside)}
    packed, looked_up, width = products_and_tables(graph, model.spec.width)
    copies = next((count for op, count in FEWER_COPIES.items() if op in ops), ATTENTION_COPIES)
    compute = 4 * tokens * (MLP_COPIES * width + copies * model.spec.width)
    if "Softmax" in ops:  # a graph with plain attention: scores of every token with every other, and their copy
        heads = model.number("num_attention_heads", model.number("n_heads", 12))
        compute += 2 * 4 * longest * longest * heads * max(1, tokens // longest)
    kept = KEPT
    if "MatMulNBits" in ops:
        kept, compute = INT4_KEPT, max(compute, (INT4_LOADING - INT4_KEPT) * packed)
    return Footprint(weights=int(packed * kept) + touched(looked_up, tokens), compute=int(compute))


def products_and_tables(graph: Graph, width: int) -> tuple[int, int, int]:
    """Return the bytes of weights that are multiplied, of tables that are looked up, and the widest product's columns.

    `width` stands for the last where a graph tells of none.
    """
    gathers = (node.inputs[0] for node in graph.nodes if node.op == "Gather" and node.inputs)
    tables = {name for name in gathers if name in graph.weights}
    looked_up = sum(graph.weights[name].size for name in tables)
    packed = sum(weight.size for weight in graph.weights.values()) - looked_up
    products = (weight.shape for name, weight in graph.weights.items() if name not in tables and len(weight.shape) > 1)
    widths = (min(shape[0], 1 << 16) if len(shape) == 3 else shape[-1] for shape in products)
    return packed, looked_up, max(widths, default=width)


def converted_footprint(model: Model, checkpoint: Iterable[str], level: Level, tokens: int) -> Footprint:
    """Predict what the graph of a checkpoint, which lies in these files, will take at a level."""
    embedding, others = 0, 0
    names = (GGUF_TABLE, *(f"{table}{end}" for table in tables() for end in TABLE_ENDS))
    for name in checkpoint:
        for tensor, shape in _shapes(model.header(name)):
            if tensor.endswith(names):
                embedding += math.prod(shape)
            else:
                others += math.prod(shape)
    table = int(embedding * (4 if level == "float32" else 1))
    packed = others * BYTES_PER_WEIGHT[level] * (INT4_LOADING if level == "int4" else KEPT)
    compute = 4 * tokens * (MLP_COPIES * model.mlp_width + ATTENTION_COPIES * model.spec.width)
    return Footprint(weights=int(packed) + touched(table, tokens), compute=int(compute))


def _shapes(path: Path) -> list[tuple[str, Sequence[int]]]:
    """List a checkpoint's tensors and their shapes."""
    if path.suffix.lower() == ".gguf":
        return [(name, tensor.shape) for name, tensor in read_header(path).tensors.items()]
    return [(name, entry["shape"]) for name, entry in safetensors_header(path).items()]
