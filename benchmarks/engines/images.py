"""Turns the same JPEG files into what an image tower gives, part by part, for speed.images.

    python -m benchmarks.engines.images ENGINE TOWER WIDTH HEIGHT COUNT FOLDER

ENGINE: "edge_embed LEVEL", FOLDER holding LEVEL.onnx, or "transformers DTYPE" or "timm DTYPE", in PyTorch. A request is
null. The answer's details are [wall, CPU] milliseconds an image for each part.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.inputs import jpegs
from benchmarks.models.towers import image_spec, in_torch, processor
from benchmarks.timing import Seconds, timed
from benchmarks.worker import serve

BATCH = {"jina-clip-v1": 8, "e5-v": 1}  # images; one of E5-V is up to five tiles


@dataclass(frozen=True)
class Steps:
    """An engine's steps: a file -> an image -> pixels; pixels of a batch -> rows; files -> pixels in its own way."""

    decode: Callable[[bytes], Any]
    preprocess: Callable[[Any], Any]
    encode: Callable[[list[Any]], Any]
    stream: Callable[[list[bytes]], Iterator[Any]]


def edge(tower: str, level: str, folder: Path) -> Steps:
    """Return edge_embed's steps; files are decoded and preprocessed ahead, in threads."""
    from edge_embed.backends.onnx.runtime import ort
    from edge_embed.device.machine import usable_cpus
    from edge_embed.images.preprocess import load_ahead, preprocess
    from edge_embed.images.sources import ImageSources, load_rgb

    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cpus()
    session: Any = ort.InferenceSession(str(folder / f"{level}.onnx"), options, providers=["CPUExecutionProvider"])
    spec, sources = image_spec(tower), ImageSources()

    def encode(images: list[Any]) -> Any:
        return session.run(None, {"pixel_values": np.concatenate([image.pixels for image in images])})[0]

    def ahead(files: list[bytes]) -> Iterator[Any]:
        return load_ahead(files, spec, sources, threads=usable_cpus())

    return Steps(lambda data: load_rgb(data, sources), lambda image: preprocess(image, spec), encode, ahead)


def pytorch(tower: str, dtype: str, which: str) -> Steps:
    """Return the same steps with PyTorch behind transformers' processor."""
    import torch

    kind = getattr(torch, dtype)
    run, process = in_torch(tower, which, kind), processor(tower)

    def decode(data: bytes) -> Any:
        image = Image.open(io.BytesIO(data))
        image.load()
        return image

    def encode(images: list[Any]) -> Any:
        pixels = np.concatenate([image.reshape(-1, *image.shape[-3:]) for image in images])
        with torch.inference_mode():
            return run(torch.from_numpy(pixels).to(kind)).float().numpy()

    def prepare(image: Any) -> Any:
        return np.asarray(process(image)["pixel_values"][0])

    return Steps(decode, prepare, encode, lambda files: (prepare(decode(data)) for data in files))


def parts(steps: Steps, files: list[bytes], batch_size: int) -> dict[str, Seconds]:
    """Time each step by itself over all files, then all of them end to end."""
    images, decode = timed(lambda: [steps.decode(data) for data in files])
    ready, preprocess = timed(lambda: [steps.preprocess(image) for image in images])

    def encode_all() -> None:
        for at in range(0, len(ready), batch_size):
            steps.encode(ready[at : at + batch_size])

    def end_to_end() -> None:
        images = steps.stream(files)
        while batch := list(islice(images, batch_size)):
            steps.encode(batch)

    _, encode = timed(encode_all)
    _, everything = timed(end_to_end)
    return {"decode": decode, "preprocess": preprocess, "encode": encode, "all": everything}


def main() -> None:
    """Load the engine and serve."""
    engine, tower, width, height, count, folder = sys.argv[1:]
    name, _, option = engine.partition(" ")
    steps = edge(tower, option, Path(folder)) if name == "edge_embed" else pytorch(tower, option, name)
    files = jpegs(int(count), int(width), int(height))
    each = 1000 / len(files)
    serve(
        lambda _: parts(steps, files, BATCH[tower]),
        details=lambda _, times: {part: [each * time.wall, each * time.cpu] for part, time in times.items()},
    )


if __name__ == "__main__":
    main()
