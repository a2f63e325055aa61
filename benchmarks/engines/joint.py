"""Opens a model, embeds a text and an image, and tells each step's time and resident peak, for memory.joint.

    python -m benchmarks.engines.joint MODEL SIDE THREADS

Prints a JSON line {"step", "peak" in bytes, "seconds"} for each. The image is SIDE x SIDE pixels of noise.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from edge_embed import Embedder
from edge_embed.device.machine import resident_peak


def tell(step: str, start: float) -> None:
    """Print what has been reached since `start`."""
    seconds = time.perf_counter() - start
    print(json.dumps({"step": step, "peak": resident_peak(), "seconds": seconds}), flush=True)


def main() -> None:
    """Open, embed, check that vectors came out."""
    place, side, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    start = time.perf_counter()
    with Embedder(place, threads=threads) as model:
        tell("load", start)
        start = time.perf_counter()
        text = model.encode("a photograph of a cat on a red sofa")
        tell("text", start)
        pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        start = time.perf_counter()
        image = model.encode_image(pixels)
        tell("image", start)
        assert text.shape == image.shape
        assert np.isfinite(text).all()
        assert np.isfinite(image).all()


if __name__ == "__main__":
    main()
