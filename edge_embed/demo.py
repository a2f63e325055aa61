"""The demonstration: searches the guide that ships with the package, and tells what it cost."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

QUESTIONS = (
    "How do I stop it from going online?",
    "My document is longer than the model allows. What happens?",
    "Why would the same sentence get a different vector in another batch?",
    "How can I make the index take less disk space?",
    "Can several threads use one model?",
)


def passages() -> list[str]:
    """Cut the guide into its paragraphs, each under its heading."""
    found, heading = [], ""
    for block in Path(__file__).with_name("guide.md").read_text("utf-8").split("\n\n"):
        if block.startswith("#"):
            heading = block.lstrip("# ").strip()
        else:
            found.append(f"{heading}. {' '.join(block.split())}")
    return found


def demo(model: str) -> None:
    """Embed the passages, answer a few questions, print scores, speed, memory and the time to the first vector."""
    from .embedder import Embedder

    with Embedder(model) as embedder:
        embedder.encode_query("first")
        first = _seconds_since_start()
        texts = passages()
        tokens = sum(count.tokens - count.cut for count in embedder.count_tokens(texts))
        start = time.perf_counter()
        documents = embedder.encode_document(texts)
        seconds = time.perf_counter() - start
        scores = embedder.similarity(embedder.encode_query(QUESTIONS), documents)
        print(embedder.explain())
    for question, row in zip(QUESTIONS, scores, strict=True):
        print(f"\n{question}")
        for best in np.argsort(-row)[:2]:
            print(f"  {row[best]:.3f}  {texts[best]:.100}...")
    print(f"\n{len(texts)} passages, {tokens} tokens in {seconds:.2f} s: {tokens / seconds:,.0f} tokens/s")
    peak = _peak()
    memory = f", peak memory {peak:.0f} MB" if peak else ""
    print(f"process start to first vector: {first:.2f} s{memory}")


def _seconds_since_start() -> float:
    """Tell how long this process has lived, as the operating system says, else the CPU time it used."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return uptime - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return time.process_time()


def _peak() -> float | None:
    """Return the peak resident memory in MB; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
