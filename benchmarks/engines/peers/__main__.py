"""Embeds texts with one engine in the ways that the benchmark of peers asks for.

    python -m benchmarks.engines.peers GROUP:FUNCTION MODEL THREADS OPTIONS_AS_JSON

A request is {"texts": a JSON file, "first": how many of them, "repeat": so many made of these, or null, "way": WAY,
"save": where to write the vectors, or null}. WAY: "bulk", all in one call; "single", one after another; a number, so
many threads that ask for one text at a time. Details of the answer: seconds of each text where they were asked for one
by one, and the memory in MB of the process that computes, now and at its peak.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import time
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks.engines.peers import Engine
from benchmarks.worker import serve


@cache
def read(path: str) -> list[str]:
    """Return the texts of a file."""
    texts: list[str] = json.loads(Path(path).read_text("utf-8"))
    return texts


def prepare(request: Mapping[str, Any]) -> tuple[list[str], str | int]:
    """Return the texts that are asked for, and the way."""
    texts = read(request["texts"])[: request["first"]]
    if request["repeat"]:
        texts = [f"{n} {texts[n % len(texts)]}" for n in range(request["repeat"])]
    return texts, request["way"]


def answer(engine: Engine, asked: tuple[list[str], str | int]) -> Any:
    """Embed -> vectors, or seconds of each text."""
    texts, way = asked
    if way == "bulk":
        return engine.embed(texts)
    one = partial(seconds_of, engine)
    if way == "single":
        return [one(text) for text in texts]
    with ThreadPoolExecutor(int(way)) as pool:
        return list(pool.map(one, texts))


def seconds_of(engine: Engine, text: str) -> float:
    """Embed one text -> the seconds that it took."""
    start = time.perf_counter()
    engine.embed([text])
    return time.perf_counter() - start


def details(engine: Engine, request: Mapping[str, Any], result: Any) -> dict[str, Any]:
    """Save vectors where that is wanted -> what the answer tells beside its time."""
    told: dict[str, Any] = {"memory": memory(engine.pid), "count": len(result)}
    if request["way"] != "bulk":
        return told | {"seconds": result}
    if request["save"]:
        import numpy as np

        np.save(request["save"], np.asarray(result, np.float32))
    return told


def memory(pid: int | None) -> dict[str, float]:
    """Return a process's resident memory in MB, now and at its peak, from Linux; None: of this one."""
    status = Path(f"/proc/{pid or 'self'}/status").read_text()
    found = {
        key: re.search(rf"^{field}:\s+(\d+)", status, re.M) for key, field in (("now", "VmRSS"), ("peak", "VmHWM"))
    }
    return {key: int(match[1]) / 1024 for key, match in found.items() if match}


def load(adapter: str, model: str, threads: int, options: Mapping[str, Any]) -> Engine:
    """Import the adapter's file and load the model."""
    group, _, name = adapter.partition(":")
    module = importlib.import_module(f"benchmarks.engines.peers.{group}")
    engine: Engine = getattr(module, name)(model, threads, **options)
    return engine


def main() -> None:
    """Load the engine and serve."""
    warnings.simplefilter("ignore")
    adapter, model, threads, options = sys.argv[1:]
    engine = load(adapter, model, int(threads), json.loads(options))
    clock = time.process_time
    if engine.pid is not None:
        from benchmarks.engines.gguf import cpu_seconds

        clock = partial(cpu_seconds, engine.pid)
    try:
        serve(partial(answer, engine), prepare=prepare, details=partial(details, engine), cpu_clock=clock)
    finally:
        engine.close()


if __name__ == "__main__":
    main()
