"""What E5-V takes: its shape with random weights, written at a level, and the resident peak of a text and an image.

    python -m benchmarks memory.joint --format onnx --level int4 --out /tmp/joint

The folder is written once (5 minutes and 5.3 GB for int4) and used again if it is there. A fresh process then opens it
through Embedder and embeds a text and the image of most rows, 2,928.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.models import joint
from benchmarks.report import Report, Table, progress
from benchmarks.worker import run_once
from edge_embed.spec.model import FILE_NAME
from edge_embed.spec.weights import LEVELS as KNOWN
from edge_embed.spec.weights import Weights, image_level
from edge_embed_convert.checkpoint.source import Source
from edge_embed_convert.export import describe
from edge_embed_convert.onnx.export import IMAGE_LEVELS, to_onnx, write_image
from edge_embed_convert.onnx.levels import LEVELS

GB = 1e9
SIDE = 800  # pixels; a square becomes an overview and four tiles without padding


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--format", choices=[*WRITERS], default="onnx", help="of the text part")
    add("--level", default="int4", help="of the text part")
    add("--out", type=Path, required=True, help="where the model is kept")
    add("--layers", type=int, default=32, help="of the language model, fewer for a quick look")
    add("--threads", type=int, default=2, help="of the engine")


def run(args: argparse.Namespace) -> Report:
    """Write the model if need be, and measure."""
    levels, write = WRITERS[args.format]
    if args.level not in levels:
        raise SystemExit(f"--level {args.level!r}: choose from {', '.join(levels)}")
    folder = args.out / f"{args.format}-{args.level}-{args.layers}" / joint.NAME
    if not (folder / FILE_NAME).is_file():
        start = time.perf_counter()
        source = joint.source(folder, args.layers)
        weights = write(source, args.level)
        (folder / FILE_NAME).write_text(replace(source.spec, weights=tuple(weights)).to_json(), "utf-8")
        progress(f"written in {time.perf_counter() - start:.0f} s")
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    files = Table("file", "GB")
    for name, size in sizes.items():
        files.add(name, f"{size / GB:.2f}")
    steps = run_once("joint", f"{folder}:{args.level}", SIDE, args.threads)
    peaks = Table("after", "resident peak, GB", "seconds")
    for step in steps:
        peaks.add(step["step"], f"{step['peak'] / GB:.2f}", f"{step['seconds']:.1f}")
    about = {"format": args.format, "level": args.level, "layers": args.layers}
    peak = {step["step"]: step["peak"] for step in steps}
    return Report([files, peaks], {**about, "peak": peak, "size": sizes})


def write_onnx(source: Source, level: str) -> list[Weights]:
    """Write text part and image part beside the source's small files."""
    files = to_onnx(source.config, source.tensors, level, source.folder, pooling=source.spec.pooling)
    described = tuple(describe(path, source.folder) for path in files)
    image = write_image(source, source.folder, IMAGE_LEVELS.get(level, level))
    return [Weights(format="onnx", level=level, files=described), image]


def write_gguf(source: Source, level: str) -> list[Weights]:
    """Write the text part by way of F16, 16 GB that are deleted, and the image part as an ONNX graph."""
    from edge_embed_convert.gguf.file import write_file
    from edge_embed_convert.gguf.quantize import quantize

    exact, path = source.folder / "exact.gguf", source.folder / f"{joint.NAME}-{level}.gguf"
    write_file(exact, source, "F16", source.folder / "tokenizer.json")
    quantize(exact, path, level, None)
    exact.unlink()
    image = write_image(source, source.folder, image_level(level))
    return [Weights(format="gguf", level=level, files=(describe(path, source.folder),)), image]


WRITERS: dict[str, tuple[tuple[str, ...], Callable[[Source, str], list[Weights]]]] = {
    "onnx": (LEVELS, write_onnx),
    "gguf": (KNOWN["gguf"], write_gguf),
}
