"""Embeds texts at a pace, with settings of an engine's threads, for speed.threads.

    python -m benchmarks.engines.threads BACKEND MODEL THREADS SETTINGS_AS_JSON

A request is {"texts": [...], "pause": seconds between texts, or null for all texts in one call}.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings
from typing import Any

from benchmarks.worker import serve


def with_settings(backend: str, settings: dict[str, str]) -> None:
    """Give every session that is opened from now on these entries, or llama.cpp these environment variables."""
    if backend == "gguf":
        os.environ.update(settings)
        return
    from edge_embed.backends.onnx import session

    session.SPIN.clear()
    session.SPIN.update(settings)


def main() -> None:
    """Load the model and serve."""
    warnings.simplefilter("ignore")
    arguments: list[Any] = sys.argv[1:]
    backend, model, threads, settings = arguments
    with_settings(backend, json.loads(settings))
    from edge_embed import Embedder

    embedder = Embedder(model, backend=backend, threads=int(threads))

    def run(request: dict[str, Any]) -> list[float]:
        texts, pause = request["texts"], request["pause"]
        if pause is None:
            embedder.encode(texts)
            return []
        seconds = []
        for text in texts:
            began = time.perf_counter()
            embedder.encode(text)
            seconds.append(time.perf_counter() - began)
            time.sleep(max(0.0, pause - seconds[-1]))
        return seconds

    def details(_: object, seconds: list[float]) -> dict[str, float]:
        if not seconds:
            return {}
        return {"p50": statistics.median(seconds), "p99": sorted(seconds)[int(0.99 * (len(seconds) - 1))]}

    serve(run, details=details)


if __name__ == "__main__":
    main()
