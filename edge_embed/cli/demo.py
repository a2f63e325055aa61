"""The command demo: searches the guide that ships with the package, and tells what it cost."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edge_embed.device.machine import resident_peak

QUESTIONS = (
    "How do I stop it from going online?",
    "My document is longer than the model allows. What happens?",
    "Why would the same sentence get a different vector in another batch?",
    "How can I make the index take less disk space?",
    "Can several threads use one model?",
)


def configure(commands: Any, default: str) -> None:
    """Add the command to the parser's; `default` is the model where none is named."""
    demo = commands.add_parser("demo", help="search the guide that ships with edge_embed, or images")
    demo.add_argument("--images", action="store_true", help="draw images, search them by text, write a PNG of it")
    demo.add_argument("-o", "--output", type=Path, default=Path("edge-embed-images.png"), help="default: %(default)s")
    demo.add_argument("--model", help=f"default: {default}")
    demo.add_argument("--task", help="one of the model's tasks")
    demo.add_argument("--json", action="store_true", help="print what was found and what it cost as JSON")
    demo.set_defaults(run=_demo, default_model=default)


def _demo(args: argparse.Namespace) -> None:
    if args.images:
        from . import demo_images

        demo_images.demo_images(args.model or demo_images.DEFAULT_MODEL, args.output, args.json)
        return
    demo(args.model or args.default_model, args.task, args.json)


def passages() -> list[str]:
    """Cut the guide into its paragraphs, each under its heading."""
    found, heading = [], ""
    for block in Path(__file__).with_name("guide.md").read_text("utf-8").split("\n\n"):
        if block.startswith("#"):
            heading = block.lstrip("# ").strip()
        else:
            found.append(f"{heading}. {' '.join(block.split())}")
    return found


def demo(model: str, task: str | None = None, as_json: bool = False) -> None:
    """Embed the passages, answer a few questions, print scores, speed, memory and the time to the first vector."""
    from edge_embed.embedder import Embedder

    with Embedder(model, task=task) as embedder:
        texts = passages()
        tokens = sum(count.tokens - count.cut for count in embedder.count_tokens(texts))
        start = time.perf_counter()
        documents = embedder.encode_document(texts)
        seconds = time.perf_counter() - start
        scores = embedder.similarity(embedder.encode_query(QUESTIONS), documents)
        explained = embedder.explain()
    answers = {
        question: [(float(row[best]), texts[best]) for best in np.argsort(-row)[:2]]
        for question, row in zip(QUESTIONS, scores, strict=True)
    }
    peak, fresh = resident_peak(), _fresh_start(model, task)
    if as_json:
        found = {q: [{"score": score, "passage": text} for score, text in rows] for q, rows in answers.items()}
        cost = {
            "passages": len(texts),
            "tokens": tokens,
            "seconds": seconds,
            "peak_bytes": peak,
            "fresh_start_s": fresh,
        }
        print(json.dumps({"explain": explained, "answers": found, **cost}, ensure_ascii=False))
        return
    print(explained)
    for question, rows in answers.items():
        print(f"\n{question}")
        for score, text in rows:
            print(f"  {score:.3f}  {text:.100}...")
    print(f"\n{len(texts)} passages, {tokens} tokens in {seconds:.2f} s: {tokens / seconds:,.0f} tokens/s")
    memory = f"; peak memory here {peak / 1e6:.0f} MB" if peak else ""
    print(f"a fresh process, from its start to its first vector: {fresh:.2f} s{memory}")


def _fresh_start(model: str, task: str | None) -> float:
    """Time a fresh process from its start until it has embedded one text and ended."""
    code = (
        "import sys; from edge_embed import Embedder; Embedder(sys.argv[1], task=sys.argv[2] or None).encode('first')"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, model, task or ""], check=True)
    return time.perf_counter() - start
