"""The memory plan against the measured resident peak, one process each.

    python benchmarks/memory.py FOLDER... --tokens 16 512 2048

For every candidate of every model (a folder or a .gguf file) and every length: load, embed one text of random token ids
drawn from the whole vocabulary, after eight pictures where the model takes any, and read the peak. A table, then JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from edge_embed.layouts.folder import read_folder
from edge_embed.selection.memory import MB, plans

WORKER = """
import sys
from pathlib import Path
import numpy as np
import edge_embed.embedder
from edge_embed.backends import Batch, load
from edge_embed.device.machine import resident_peak
from edge_embed.spec.image import ImagePixels
from edge_embed.layouts.folder import read_folder
from edge_embed.spec.weights import image_part
from edge_embed.pipeline.tokenizer import TextTokenizer

place, candidate, tokens, vocabulary = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
repo = read_folder(place)
weights = next(w for w in repo.spec.weights if (f"{w.format}:{w.level}", w.part) == (candidate, "text"))
backend = load(weights.format, repo.folder, repo.spec, weights, 2)
part = image_part(repo.spec.weights, weights)
if part and repo.spec.image:
    vision = load(part.format, repo.folder, repo.spec, part, 2)
    pixels = np.zeros((8, 3, *repo.spec.image.size), np.float32)
    vision.forward(Batch((), [ImagePixels(tile[None], repo.spec.image.size) for tile in pixels]))
tokenizer = TextTokenizer(repo.tokenizer, repo.spec.max_tokens) if repo.tokenizer.is_file() else None
ids = np.random.default_rng(0).integers(0, vocabulary, tokens).astype(np.int32)
for _ in range(2):
    backend.forward(Batch([ids]))
print(resident_peak())
"""


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--tokens", nargs="*", type=int, default=[16, 512, 2048])
    parser.add_argument("--vocabulary", type=int, help="how many token ids to draw from; default: config.json's")
    args = parser.parse_args()
    print("| model | candidate | tokens | planned MB | measured MB | error |\n|---|---|---|---|---|---|")
    rows = []
    for place in args.models:
        repo = read_folder(place)
        config = repo.folder / "config.json"
        vocabulary = args.vocabulary or json.loads(config.read_text("utf-8"))["vocab_size"]
        for tokens in (count for count in args.tokens if count <= repo.spec.max_tokens):
            for plan in plans(repo, tokens, tokens):
                words = [sys.executable, "-c", WORKER, str(place), plan.candidate, str(tokens), str(vocabulary)]
                done = subprocess.run(words, capture_output=True, text=True, check=True)
                measured = int(done.stdout.split()[-1])
                error = plan.total / measured - 1
                rows.append((place.stem, plan.candidate, tokens, plan.total, measured, error))
                cells = f"{plan.total / MB:,.0f} | {measured / MB:,.0f} | {error:+.1%}"
                print(f"| {place.stem} | {plan.candidate} | {tokens:,} | {cells} |", flush=True)
    print(json.dumps({"memory": rows, "worst": max(abs(row[-1]) for row in rows)}))


if __name__ == "__main__":
    main()
