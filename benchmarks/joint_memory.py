"""What E5-V takes: its shape with random weights, written at a level, and the resident peak of a text and a picture.

    python benchmarks/joint_memory.py --format onnx --level int4 --out /tmp/joint

The folder is written once (5 minutes and 5.3 GB for int4) and used again if it is there. A fresh process then opens it
through Embedder and embeds a text and the picture of most rows, 2,928. A table, then one JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import joint_model

from edge_embed.spec.model import FILE_NAME
from edge_embed.spec.weights import LEVELS as KNOWN
from edge_embed.spec.weights import Weights, image_level
from edge_embed_convert.checkpoint.source import Source
from edge_embed_convert.export import describe
from edge_embed_convert.onnx.export import IMAGE_LEVELS, to_onnx, write_image
from edge_embed_convert.onnx.levels import LEVELS

GB = 1e9
SIDE = 800  # pixels; a square becomes an overview and four tiles without padding
WORKER = """
import sys, time
import numpy as np
from edge_embed import Embedder
from edge_embed.device.machine import resident_peak

def say(what, start):
    print(what, resident_peak(), time.perf_counter() - start, flush=True)

start = time.perf_counter()
with Embedder(sys.argv[1], threads=int(sys.argv[3])) as model:
    say("load", start)
    start = time.perf_counter()
    first = model.encode("a photograph of a cat on a red sofa")
    say("text", start)
    picture = np.random.default_rng(0).integers(0, 256, (int(sys.argv[2]),) * 2 + (3,), np.uint8)
    start = time.perf_counter()
    second = model.encode_image(picture)
    say("picture", start)
    assert first.shape == second.shape and np.isfinite(first).all() and np.isfinite(second).all()
"""


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

    exact, path = source.folder / "exact.gguf", source.folder / f"{joint_model.NAME}-{level}.gguf"
    write_file(exact, source, "F16", source.folder / "tokenizer.json")
    quantize(exact, path, level, None)
    exact.unlink()
    image = write_image(source, source.folder, image_level(level))
    return [Weights(format="gguf", level=level, files=(describe(path, source.folder),)), image]


WRITERS: dict[str, tuple[tuple[str, ...], Callable[[Source, str], list[Weights]]]] = {
    "onnx": (LEVELS, write_onnx),
    "gguf": (KNOWN["gguf"], write_gguf),
}


def main() -> None:
    """Write the model if need be, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--format", choices=[*WRITERS], default="onnx")
    parser.add_argument("--level", default="int4")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=32, help="of the language model, for a quick look")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    levels, write = WRITERS[args.format]
    if args.level not in levels:
        parser.error(f"--level {args.level!r}: choose from {', '.join(levels)}")
    folder = args.out / f"{args.format}-{args.level}-{args.layers}" / joint_model.NAME
    if not (folder / FILE_NAME).is_file():
        start = time.perf_counter()
        source = joint_model.source(folder, args.layers)
        weights = write(source, args.level)
        (folder / FILE_NAME).write_text(replace(source.spec, weights=tuple(weights)).to_json(), "utf-8")
        print(f"written in {time.perf_counter() - start:.0f} s")
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    for name, size in sizes.items():
        print(f"{name}: {size / GB:.2f} GB")
    words = [sys.executable, "-c", WORKER, f"{folder}:{args.level}", str(SIDE), str(args.threads)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    steps = [line.split() for line in done.stdout.splitlines()]
    print("| after | resident peak, GB | seconds |\n|---|---|---|")
    for what, peak, seconds in steps:
        print(f"| {what} | {int(peak) / GB:.2f} | {float(seconds):.1f} |")
    peaks = {what: int(peak) for what, peak, _ in steps}
    print(json.dumps({"format": args.format, "level": args.level, "layers": args.layers, "peak": peaks, "size": sizes}))


if __name__ == "__main__":
    main()
