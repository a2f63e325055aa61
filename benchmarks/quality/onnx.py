"""What quantised weights and smaller vectors cost: nDCG@10 at every level, dimension and precision.

    python -m benchmarks quality.onnx BASE EVAL.jsonl

BASE: a checkpoint with adapters/retrieval, 256 dimensions or more. EVAL.jsonl has lines {"type": "query" | "doc",
"id", "text"} and {"type": "qrel", "query", "doc"}, one relevant document a query.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

from benchmarks.report import Report
from edge_embed import Embedder
from edge_embed_convert import convert

from .scores import Vectors, compare_levels, read

LEVELS = ("float32", "float16", "int8", "int4")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("base", type=Path, help="the checkpoint's folder")
    parser.add_argument("eval", type=Path, help="queries, documents and which belongs to which, as JSON lines")
    parser.add_argument("--openvino", action="store_true", help="int8 on OpenVINO, too")


def run(args: argparse.Namespace) -> Report:
    """Convert, and embed at each level."""
    queries, documents, relevant = read(args.eval)
    vectors: dict[str, tuple[Vectors, Vectors]] = {}
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        levels = [f"onnx:{level}" for level in LEVELS]
        (folder,) = convert(args.base, Path(scratch), levels, task="retrieval", portable=args.openvino)
        for level in LEVELS:
            with Embedder(f"{folder}:{level}", backend="onnx") as model:
                vectors[level] = model.encode_query(queries), model.encode_document(documents)
        if args.openvino:
            with Embedder(f"{folder}:int8", backend="openvino") as model:
                vectors["int8 on OpenVINO"] = model.encode_query(queries), model.encode_document(documents)
    return compare_levels(args.base.name, vectors, relevant)
