"""When is "nothing fits" the answer? Unrelated questions to a small collection, and what right answers reach.

    python -m benchmarks search.nothing MODEL retrieval.jsonl

The collection is the guide that ships with edge_embed; the questions of the set are about other things, nearly all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.quality.scores import read
from benchmarks.report import Report, Table
from edge_embed import Embedder, Index
from edge_embed.cli.demo import QUESTIONS, passages


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("models", nargs="+", help="references; with =TASK for one of a base's tasks")
    parser.add_argument("--set", type=Path, required=True, help="a retrieval set")
    parser.add_argument("--queries", type=int, default=300, help="of the set")


def run(args: argparse.Namespace) -> Report:
    """Ask each model's index what has no answer, and compare with answers."""
    texts, documents, relevant = read(args.set)
    texts, relevant = texts[: args.queries], relevant[: args.queries]
    table = Table(
        "model", "reference", "unrelated: nothing fits", "right answers left out", "the guide's own questions"
    )
    figures = {}
    for name in args.models:
        reference, _, task = name.partition("=")
        with Embedder(reference, task=task or None) as model, Index.open(":memory:", model) as index:
            index.add({"id": n, "text": text} for n, text in enumerate(passages()))
            level = index.meta.reference
            silent = np.mean([not index.search(text, top=1, hybrid=False) for text in texts])
            answered = np.mean([bool(index.search(text, top=1, hybrid=False)) for text in QUESTIONS])
            own = (model.encode_query(texts) * model.encode_document([documents[n] for n in relevant])).sum(axis=1)
            lost = float((own < level).mean())
            table.add(model.spec.name, f"{level:.2f}", f"{silent:.0%}", f"{lost:.1%}", f"{answered:.0%}")
            figures[model.spec.name] = {"reference": level, "silent": float(silent), "lost": lost}
    return Report([table], figures)
