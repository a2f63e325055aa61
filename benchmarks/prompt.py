"""What it saves to compute a prompt's keys and values once: texts a second with and without, the same backend.

    python benchmarks/prompt.py model-Q8_0.gguf                       30 ids of prompt, texts of 20, one and 32 a call
    python benchmarks/prompt.py FOLDER --backend mlx --text 8

Random ids; the same calls with and without take turns; medians of the rounds. A table, then JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from edge_embed import Embedder
from edge_embed.backends import Batch


def main() -> None:
    """Load, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--task")
    parser.add_argument("--prompt", type=int, default=30, help="tokens of the prompt")
    parser.add_argument("--text", type=int, default=20, help="tokens of a text")
    parser.add_argument("--together", type=int, nargs="*", default=[1, 32], help="texts in a call")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with Embedder(args.model, backend=args.backend, task=args.task) as model:
        backend = model._opened.pipeline.backend
        print(
            f"| {args.prompt} of {args.prompt + args.text} tokens | texts/s | prompt once | ratio |\n|---|---|---|---|"
        )
        rows = {}
        for count in args.together:
            rng = np.random.default_rng(count)
            prompt = rng.integers(100, 1000, args.prompt)
            texts = rng.integers(100, 1000, (count, args.text))
            ids = [np.concatenate([prompt, text]).astype(np.int32) for text in texts]
            seconds: dict[int, list[float]] = {0: [], args.prompt: []}
            for turn in range(args.rounds + 1):
                for shared, times in seconds.items():
                    start = time.perf_counter()
                    backend.forward(Batch(ids, shared=shared))
                    if turn:  # the first warms up
                        times.append(time.perf_counter() - start)
            without, once = (count / statistics.median(times) for times in seconds.values())
            rows[count] = {"without": without, "once": once}
            print(f"| {count} a call | {without:.1f} | {once:.1f} | {once / without:.2f} |")
    print(json.dumps({"prompt": args.prompt, "text": args.text, "texts": rows}))


if __name__ == "__main__":
    main()
