"""Embeds texts with a clock around each part of the way, for speed.shares.

    python -m benchmarks.engines.shares MODEL THREADS

A request is {"texts": [...], "together": whether they are given in one call}; the details are seconds by part. A part
is charged with what its functions take without those of other parts inside of them.
"""

from __future__ import annotations

import functools
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from benchmarks.worker import serve

ENGINES = {"onnx": ("session", "Session"), "gguf": ("context", "Context")}  # file and class whose `run` is the engine


class Clock:
    """Seconds by part; calls may lie within one another, in one thread."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner: list[float] = []  # of each call that is running: what the calls inside of it took

    def around(self, part: str, owner: Any, name: str) -> None:
        """Charge the part with every call of the owner's function from now on."""
        function: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(function)
        def clocked(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            self._inner.append(0.0)
            try:
                return function(*arguments, **named)
            finally:
                whole = time.perf_counter() - began
                self.seconds[part] += whole - self._inner.pop()
                if self._inner:
                    self._inner[-1] += whole

        setattr(owner, name, clocked)


def wind(clock: Clock, backend: str) -> None:
    """Put the clock around the parts, before a model is opened."""
    import importlib

    from edge_embed.backends.onnx import backend as onnx
    from edge_embed.backends.onnx.padding import PaddedTexts
    from edge_embed.pipeline import steps
    from edge_embed.pipeline.head import Head
    from edge_embed.pipeline.pipeline import Pipeline
    from edge_embed.pipeline.tokenizer import TextTokenizer

    file, name = ENGINES[backend]
    clock.around("engine", getattr(importlib.import_module(f"edge_embed.backends.{backend}.{file}"), name), "run")
    clock.around("tokenisation", TextTokenizer, "tokenize")
    clock.around("batching", steps, "make_batches")
    clock.around("padding", onnx, "pad")
    clock.around("padding", PaddedTexts, "rows")
    clock.around("pooling", Head, "pool")
    clock.around("normalising", Pipeline, "finish")


def main() -> None:
    """Load the model and serve."""
    warnings.simplefilter("ignore")
    model, threads = sys.argv[1:]
    from edge_embed import Embedder

    with Embedder(model, threads=int(threads)) as found:
        backend = found.backend
    clock = Clock()
    wind(clock, backend)
    embedder = Embedder(model, threads=int(threads))

    def run(request: dict[str, Any]) -> dict[str, float]:
        clock.seconds.clear()
        if request["together"]:
            embedder.encode(request["texts"])
        else:
            for text in request["texts"]:
                embedder.encode(text)
        return dict(clock.seconds)

    serve(run, details=lambda _, seconds: seconds)


if __name__ == "__main__":
    main()
