"""What it saves to compute a prompt's keys and values once: texts a second with and without, the same backend.

    python -m benchmarks speed.prompt model-Q8_0.gguf                30 ids of prompt, texts of 20, one and 32 a call
    python -m benchmarks speed.prompt FOLDER --backend mlx --text 8

Random ids; the same calls with and without take turns; medians of the rounds.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np

from benchmarks.report import Report, Table
from benchmarks.timing import Seconds, alternate, median, timed
from edge_embed import Embedder
from edge_embed.backends import Batch


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("model", help="a folder or file that Embedder opens")
    add("--backend", default="auto", help="of the model")
    add("--task", help="of the model")
    add("--prompt", type=int, default=30, help="tokens of the prompt")
    add("--text", type=int, default=20, help="tokens of a text")
    add("--together", type=int, nargs="*", default=[1, 32], help="texts in a call")
    add("--rounds", type=int, default=7, help="how often each call is measured")


def run(args: argparse.Namespace) -> Report:
    """Measure every number of texts in a call."""
    table = Table(
        f"{args.prompt} of {args.prompt + args.text} tokens", "texts/s", "prompt once", "ratio", "CPU s", "prompt once"
    )
    rows = {}
    with Embedder(args.model, backend=args.backend, task=args.task) as model:
        backend = model._opened.pipeline.backend
        for count in args.together:
            without, once = measure(backend, batches(count, args.prompt, args.text), args.rounds)
            rows[count] = {
                "without": count / without.wall,
                "once": count / once.wall,
                "without_cpu_s": without.cpu,
                "once_cpu_s": once.cpu,
            }
            speeds = f"{count / without.wall:.1f}", f"{count / once.wall:.1f}", f"{without.wall / once.wall:.2f}"
            table.add(f"{count} a call", *speeds, f"{without.cpu:.3f}", f"{once.cpu:.3f}")
    return Report([table], {"prompt": args.prompt, "text": args.text, "texts": rows})


def batches(count: int, prompt_tokens: int, text_tokens: int) -> tuple[Batch, Batch]:
    """Return random texts behind one random prompt, first as whole texts, then with the prompt marked as shared."""
    rng = np.random.default_rng(count)
    prompt = rng.integers(100, 1000, prompt_tokens)
    texts = rng.integers(100, 1000, (count, text_tokens))
    ids = [np.concatenate([prompt, text]).astype(np.int32) for text in texts]
    return Batch(ids, prefix_length=0), Batch(ids, prefix_length=prompt_tokens)


def measure(backend: Any, calls: tuple[Batch, Batch], rounds: int) -> tuple[Seconds, Seconds]:
    """Let both calls take turns -> their medians; the first round warms up."""
    turns = {batch.prefix_length: partial(timed, partial(backend.forward, batch)) for batch in calls}
    results = alternate(turns, rounds)
    without, once = (median(seconds for _, seconds in results[batch.prefix_length]) for batch in calls)
    return without, once
