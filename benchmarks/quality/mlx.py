"""What MLX's quantised levels cost: nDCG@10, dimensions and precisions as in quality.onnx.

    python -m benchmarks quality.mlx BASE EVAL.jsonl     BASE: a checkpoint with adapters/retrieval

MLX multiplies quantised weights slowly on a CPU; here they are turned back into float32 first, which gives the same
numbers.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_unflatten

from benchmarks.report import Report
from edge_embed import Embedder
from edge_embed.backends.mlx.backend import MlxBackend
from edge_embed.backends.mlx.weights import load_model
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed_convert.checkpoint.source import Source
from edge_embed_convert.export import Export
from edge_embed_convert.mlx.export import ALL, write
from edge_embed_convert.variant import open_variant

from .scores import Vectors, compare_levels, read


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("base", type=Path, help="the checkpoint's folder")
    parser.add_argument("eval", type=Path, help="queries, documents and which belongs to which, as JSON lines")


def run(args: argparse.Namespace) -> Report:
    """Write each level, and embed with it."""
    queries, documents, relevant = read(args.eval)
    source = open_variant(args.base, None, "retrieval", None, {})
    with tempfile.TemporaryDirectory() as scratch:
        vectors = {
            weights.level: embed(source, Path(scratch) / weights.files[0].path, queries, documents)
            for weights in write(Export(folder=Path(scratch), source=source, levels=ALL))
        }
    return compare_levels(args.base.name, vectors, relevant)


def embed(source: Source, path: Path, queries: list[str], documents: list[str]) -> tuple[Vectors, Vectors]:
    """Embed with one file's weights."""
    spec = source.spec
    backend = MlxBackend(lambda: plain(load_model([path], source.config, spec.architecture)), spec.pooling)
    with Embedder.from_parts(spec, TextTokenizer(source.folder / "tokenizer.json", spec.max_tokens), backend) as model:
        return model.encode_query(queries), model.encode_document(documents)


def plain(model: Any) -> Any:
    """Replace quantised layers and tables by float32 ones of the same values."""
    found = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.QuantizedLinear | nn.QuantizedEmbedding):
            continue
        weight = mx.dequantize(
            module.weight, module.scales, module.biases, group_size=module.group_size, bits=module.bits
        )
        bias = "bias" in module
        same = nn.Embedding(1, 1) if isinstance(module, nn.QuantizedEmbedding) else nn.Linear(1, 1, bias=bias)
        same.weight = weight
        if bias:
            same.bias = module.bias
        found[name] = same
    model.update_modules(tree_unflatten(list(found.items())))
    mx.eval(model.parameters())
    return model
