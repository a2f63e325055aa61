"""Pictures per second through jina-clip-v1's image tower at full size, random weights, and where the time goes.

    python benchmarks/images.py                       edge_embed's levels against PyTorch
    python benchmarks/images.py --size 4032x3024      as a telephone's camera makes them

JPEG bytes in, one vector out, batches of 8. Decode and preprocess are timed by themselves in one thread; end to end
they run ahead in threads (edge_embed) or before each batch (the peers). Peers: transformers' CLIP ViT-B/16 with its own
processor, a tower of as many products as EVA02-B/16; and EVA02-B/16 itself from timm where that is installed. Engines
take turns, one process each; medians over the rounds. A table, then JSON.
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
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TESTS = Path(__file__).parents[1] / "tests"
BATCH = 8
PARTS = ("decode", "preprocess", "encode", "all")


def jpegs(count: int, size: tuple[int, int]) -> list[bytes]:
    """Return generated photographs as JPEG files."""
    sys.path.insert(0, str(TESTS))
    from pictures import encoded, photograph

    return [encoded(Image.fromarray(photograph(*size, n)), "JPEG", quality=90) for n in range(count)]


def graphs(levels: Sequence[str], folder: Path) -> None:
    """Write the tower at each level, with random weights."""
    sys.path.insert(0, str(TESTS))
    import onnx

    from edge_embed_convert.onnx_builder import Builder
    from edge_embed_convert.onnx_graphs.jina_clip import build_image

    import jina_clip_reference as reference

    config = reference.config_of()
    tensors = {name: value.numpy() for name, value in reference.make(config, 1.0).state_dict().items()}
    for level in levels:
        with (folder / f"{level}.onnx_data").open("wb") as data:
            builder = Builder(level, data, f"{level}.onnx_data")
            graph = builder.finish(*build_image(builder, config, tensors), 768, (224, 224))
        onnx.save(graph, folder / f"{level}.onnx")


Steps = tuple[
    Callable[[bytes], Any], Callable[[Any], Any], Callable[[list[Any]], Any], Callable[[list[bytes]], Iterator[Any]]
]


def edge(level: str, folder: Path) -> Steps:
    """Return edge_embed's steps: decode, preprocess, encode a batch, and files -> preprocessed pictures."""
    import onnxruntime as ort

    from edge_embed.device import usable_cpus
    from edge_embed.image_sources import ImageSources, load_rgb
    from edge_embed.image_spec import ImageSpec
    from edge_embed.images import load_ahead, preprocess

    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cpus()
    session: Any = ort.InferenceSession(str(folder / f"{level}.onnx"), options, providers=["CPUExecutionProvider"])
    spec, sources = ImageSpec(size=(224, 224)), ImageSources()

    def encode(pictures: list[Any]) -> Any:
        return session.run(None, {"pixel_values": np.concatenate([picture.pixels for picture in pictures])})[0]

    def ahead(files: list[bytes]) -> Iterator[Any]:
        return load_ahead(files, spec, sources, threads=usable_cpus())

    return lambda data: load_rgb(data, sources), lambda image: preprocess(image, spec), encode, ahead


def torch_tower(dtype: str, which: str) -> Steps:
    """Return the same steps with PyTorch: transformers' CLIP, or timm's EVA02, behind transformers' processor."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    kind = getattr(torch, dtype)
    if which == "timm":
        import timm

        tower = timm.create_model("eva02_base_patch16_clip_224", pretrained=False, num_classes=0)
        run: Callable[[Any], Any] = tower
    else:
        tower = CLIPVisionModelWithProjection(CLIPVisionConfig(hidden_size=768, intermediate_size=3072, patch_size=16))
        run = lambda pixels: tower(pixel_values=pixels).image_embeds  # noqa: E731
    tower.eval().to(kind)
    processor = CLIPImageProcessorPil()

    def decode(data: bytes) -> Any:
        image = Image.open(io.BytesIO(data))
        image.load()
        return image

    def encode(pictures: list[Any]) -> Any:
        with torch.inference_mode():
            return run(torch.from_numpy(np.stack(pictures)).to(kind)).float().numpy()

    def prepare(image: Any) -> Any:
        return processor(image)["pixel_values"][0]

    return decode, prepare, encode, lambda files: (prepare(decode(data)) for data in files)


def worker(engine: str, files: list[bytes], folder: Path) -> None:
    """Time all parts whenever a line comes in, and answer with milliseconds a picture."""
    name, _, option = engine.partition(" ")
    decode, prepare, encode, stream = edge(option, folder) if name == "edge_embed" else torch_tower(option, name)
    for _ in sys.stdin:
        times, start = {}, time.perf_counter()
        for part in PARTS:
            if part == "decode":
                images = [decode(data) for data in files]
            elif part == "preprocess":
                ready = [prepare(image) for image in images]
            elif part == "encode":
                for at in range(0, len(ready), BATCH):
                    encode(ready[at : at + BATCH])
            else:
                pictures = stream(files)
                while batch := list(islice(pictures, BATCH)):
                    encode(batch)
            now = time.perf_counter()
            times[part], start = 1000 * (now - start) / len(files), now
        print(json.dumps(times), flush=True)


def main() -> None:
    """Make pictures and graphs, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
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
        worker(args.worker[0], files, Path(args.worker[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        graphs(args.levels, Path(folder))
        engines = [*(f"edge_embed {level}" for level in args.levels), *args.peers]
        again = [sys.executable, __file__, "--size", args.size, "--count", str(args.count), "--worker"]
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
    report(args.size, seen)


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
