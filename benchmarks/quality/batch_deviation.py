"""Whether a vector depends on its batch: each text alone against the same text among others, at every level.

    python -m benchmarks quality.batch_deviation CHECKPOINT [--task retrieval] [--to onnx:int8 gguf:Q8_0 mlx:8bit]

A text stands among neighbours of its own length and of others, in the order given and the other way round, under a
small and a large budget of tokens; of all these the worst counts.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import texts
from benchmarks.report import Report, Table, progress
from edge_embed import Embedder
from edge_embed.vectors import quantize
from edge_embed_convert import convert

TO = [
    *(f"onnx:{level}" for level in ("float32", "int8", "int4")),
    *(f"gguf:{level}" for level in ("F16", "Q8_0", "Q4_K_M")),
    *(f"mlx:{level}" for level in ("float32", "8bit")),
]
EXTREMES = ["", "a", "?" * 900, "0 " * 300, "Z" * 200]
BUDGETS = (None, 256, 100_000)  # tokens of a batch; None is the model's own


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("checkpoint", type=Path, help="its folder")
    add("--task", help="the adapter to merge, where it has any")
    add("--to", nargs="*", default=TO, help="formats and levels")
    add("--texts", type=int, default=121, help="how many texts beside five odd ones")
    add("--longest", type=int, default=1500, help="characters of the longest text")


def run(args: argparse.Namespace) -> Report:
    """Convert, and embed at each level."""
    some = [*EXTREMES, *texts(args.texts, longest=args.longest)]
    table = Table(args.checkpoint.name, "texts that differ", "int8 codes", "bits", "least cosine")
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for to in args.to:
            (folder,) = convert(args.checkpoint, Path(scratch) / to.replace(":", "-"), [to], task=args.task)
            with Embedder(folder) as model:
                rows[to] = row = deviation(model, some)
            cells = (
                f"{row['texts']} of {len(some)}",
                f"{row['codes']:.2%}",
                f"{row['bits']:.2%}",
                f"{row['cosine']:.7f}",
            )
            table.add(to, *(cells if row["texts"] else ("none", "0", "0", "1")))
            progress(to, *cells)
    return Report([table], {"checkpoint": args.checkpoint.name, "texts": len(some), "levels": rows})


def deviation(model: Embedder, some: list[str]) -> dict[str, float]:
    """Compare each text's vector alone with those it has among the others.

    Returns how many texts differ at all, the shares of int8 codes and of bits that do in the worst batch, and the least
    cosine.
    """
    alone = np.stack([model.encode(text) for text in some]).astype(np.float64)
    own, bits = quantize(alone, "int8"), quantize(alone, "ubinary")
    differs = np.zeros(len(some), bool)
    codes = flips = 0.0
    cosine = 1.0
    for batch_tokens in BUDGETS:
        for step in (1, -1):
            rows = model.encode(some[::step], batch_tokens=batch_tokens)[::step].astype(np.float64)
            differs |= (rows != alone).any(axis=1)
            codes = max(codes, float((quantize(rows, "int8") != own).mean()))
            flips = max(flips, float(np.unpackbits(quantize(rows, "ubinary") ^ bits, axis=1).mean()))
            sizes = np.linalg.norm(rows, axis=1) * np.linalg.norm(alone, axis=1)
            cosine = min(cosine, float(((rows * alone).sum(axis=1) / sizes).min()))
    return {"texts": int(differs.sum()), "codes": codes, "bits": flips, "cosine": cosine}
