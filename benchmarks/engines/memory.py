"""Loads a model, embeds one text, and prints the process's resident peak in bytes, for memory.plan.

    python -m benchmarks.engines.memory MODEL CANDIDATE TOKENS VOCABULARY

CANDIDATE is as in `edge-embed plan`. The token ids are drawn from the whole vocabulary. A model that takes images gets
eight of them first. It imports what Embedder imports and nothing else, since all of that counts.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import edge_embed.embedder  # noqa: F401 - what a user imports takes memory, too
from edge_embed.backends import Batch, load, load_images
from edge_embed.backends.facts import running
from edge_embed.device.machine import resident_peak
from edge_embed.layouts.folder import read_folder
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.spec.image import ImagePixels
from edge_embed.spec.weights import image_part

THREADS = 2


def main() -> None:
    """Load, embed, print."""
    place, candidate, tokens, vocabulary = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    model = read_folder(place)
    weights = next(w for w in model.spec.weights if (w.name, w.part) == (candidate, "text"))
    backend = load(running(weights.format)[0], model.folder, model.spec, weights, THREADS)
    part = image_part(model.spec.weights, weights)
    if part and model.spec.image:
        vision = load_images(running(part.format)[0], model.folder, model.spec, part, THREADS)
        pixels = np.zeros((8, 3, *model.spec.image.size), np.float32)
        vision.forward([ImagePixels(tile[None], model.spec.image.size) for tile in pixels])
    tokenizer = TextTokenizer(model.tokenizer, model.spec.max_tokens) if model.tokenizer.is_file() else None
    ids = np.random.default_rng(0).integers(0, vocabulary, tokens).astype(np.int32)
    for _ in range(2):
        backend.forward(Batch([ids]))
    print(resident_peak())
    del tokenizer  # held until the peak is read


if __name__ == "__main__":
    main()
