"""Pictures per second through an image tower at full size, random weights, and where the time goes.

    python benchmarks/images.py                       jina-clip-v1: edge_embed's levels against PyTorch
    python benchmarks/images.py --tower e5-v          CLIP ViT-L/14-336 and E5-V's projector, up to five tiles each
    python benchmarks/images.py --size 4032x3024      as a telephone's camera makes them

JPEG bytes in, what the tower gives out, batches of 8. Decode and preprocess are timed by themselves in one thread; end
to end they run ahead in threads (edge_embed) or before each batch (the peers). Peers: of E5-V's tower transformers'
own; of jina-clip-v1's transformers' CLIP ViT-B/16, a tower of as many products as EVA02-B/16, and with
--peers "timm float32" EVA02-B/16 itself. Engines take turns, one process each; medians over the rounds. A table, then
JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from image_towers import TESTS, image_spec, in_torch, processor, write_graphs
from PIL import Image

BATCH = {"jina-clip-v1": 8, "e5-v": 1}  # pictures; one of E5-V is up to five tiles
PARTS = ("decode", "preprocess", "encode", "all")


def jpegs(count: int, size: tuple[int, int]) -> list[bytes]:
    """Return generated photographs as JPEG files."""
    sys.path.insert(0, str(TESTS))
    from pictures import encoded, photograph

    return [encoded(Image.fromarray(photograph(*size, n)), "JPEG", quality=90) for n in range(count)]


Steps = tuple[
    Callable[[bytes], Any], Callable[[Any], Any], Callable[[list[Any]], Any], Callable[[list[bytes]], Iterator[Any]]
]


def edge(tower: str, level: str, folder: Path) -> Steps:
    """Return edge_embed's steps: decode, preprocess, encode a batch, and files -> preprocessed pictures."""
    import onnxruntime as ort

    from edge_embed.device.machine import usable_cpus
    from edge_embed.images.preprocess import load_ahead, preprocess
    from edge_embed.images.sources import ImageSources, load_rgb

    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cpus()
    session: Any = ort.InferenceSession(str(folder / f"{level}.onnx"), options, providers=["CPUExecutionProvider"])
    spec, sources = image_spec(tower), ImageSources()

    def encode(pictures: list[Any]) -> Any:
        return session.run(None, {"pixel_values": np.concatenate([picture.pixels for picture in pictures])})[0]

    def ahead(files: list[bytes]) -> Iterator[Any]:
        return load_ahead(files, spec, sources, threads=usable_cpus())

    return lambda data: load_rgb(data, sources), lambda image: preprocess(image, spec), encode, ahead


def in_pytorch(tower: str, dtype: str, which: str) -> Steps:
    """Return the same steps with PyTorch behind transformers' processor."""
    import torch

    kind = getattr(torch, dtype)
    run, process = in_torch(tower, which, kind), processor(tower)

    def decode(data: bytes) -> Any:
        image = Image.open(io.BytesIO(data))
        image.load()
        return image

    def encode(pictures: list[Any]) -> Any:
        pixels = np.concatenate([picture.reshape(-1, *picture.shape[-3:]) for picture in pictures])
        with torch.inference_mode():
            return run(torch.from_numpy(pixels).to(kind)).float().numpy()

    def prepare(image: Any) -> Any:
        return np.asarray(process(image)["pixel_values"][0])

    return decode, prepare, encode, lambda files: (prepare(decode(data)) for data in files)


def worker(tower: str, engine: str, files: list[bytes], folder: Path) -> None:
    """Time all parts whenever a line comes in, and answer with milliseconds a picture."""
    name, _, option = engine.partition(" ")
    ours = name == "edge_embed"
    decode, prepare, encode, stream = edge(tower, option, folder) if ours else in_pytorch(tower, option, name)
    batch_size = BATCH[tower]
    for _ in sys.stdin:
        times, start = {}, time.perf_counter()
        for part in PARTS:
            if part == "decode":
                images = [decode(data) for data in files]
            elif part == "preprocess":
                ready = [prepare(image) for image in images]
            elif part == "encode":
                for at in range(0, len(ready), batch_size):
                    encode(ready[at : at + batch_size])
            else:
                pictures = stream(files)
                while batch := list(islice(pictures, batch_size)):
                    encode(batch)
            now = time.perf_counter()
            times[part], start = 1000 * (now - start) / len(files), now
        print(json.dumps(times), flush=True)


def main() -> None:
    """Make pictures and graphs, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tower", default="jina-clip-v1", choices=BATCH)
    parser.add_argument("--levels", nargs="*", default=["float32", "int8", "int4"])
    parser.add_argument("--size", default="640x480", help="width and height of the pictures, as in 640x480")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", default=["transformers float32", "transformers bfloat16"])
    parser.add_argument("--worker", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    files = jpegs(args.count, (width, height))
    if args.worker:
        worker(args.tower, args.worker[0], files, Path(args.worker[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_graphs(args.tower, args.levels, Path(folder))
        engines = [*(f"edge_embed {level}" for level in args.levels), *args.peers]
        again = [
            sys.executable,
            __file__,
            "--tower",
            args.tower,
            "--size",
            args.size,
            "--count",
            str(args.count),
            "--worker",
        ]
        running = {
            engine: subprocess.Popen([*again, engine, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for engine in engines
        }
        seen: dict[str, list[dict[str, float]]] = {engine: [] for engine in engines}
        for turn in range(args.rounds + 1):
            for engine, process in running.items():
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                times = json.loads(process.stdout.readline())
                if turn:  # the first warms up
                    seen[engine].append(times)
        for process in running.values():
            process.kill()
            process.wait()
    report(f"{args.tower}, {args.size}", seen)


def report(size: str, seen: dict[str, list[dict[str, float]]]) -> None:
    """Print milliseconds a picture for each part, their shares, and pictures per second."""
    print(f"| {size}, ms a picture | decode | preprocess | encode | preprocess / encode | pictures/s, end to end |")
    print("|---|---|---|---|---|---|")
    rows = {}
    for engine, rounds in seen.items():
        row = {part: statistics.median(times[part] for times in rounds) for part in PARTS}
        rows[engine] = row
        share, speed = row["preprocess"] / row["encode"], 1000 / row["all"]
        print(
            f"| {engine} | {row['decode']:.1f} | {row['preprocess']:.1f} | {row['encode']:.1f} "
            f"| {share:.0%} | {speed:.1f} |"
        )
    print(json.dumps({"size": size, "engines": rows}))


if __name__ == "__main__":
    main()
