"""Late chunking against passages that are read one by one: nDCG@10 and recall@10 of the same passages.

    python -m benchmarks search.late MODEL --set retrieval.jsonl --chunk-tokens 16 64

Three kinds of documents: each of the set's, where any of its passages is right; the set's documents joined eight at a
time, which have nothing to do with one another; and this project's files, whose functions and sections do. Of joined
ones the passage is right that lies in what was asked for. The model pools the mean of all tokens.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.scores import Vectors, read
from benchmarks.report import Report, Table, progress
from benchmarks.search.held_out import own_files
from edge_embed import Embedder, Index
from edge_embed.errors import EdgeEmbedError
from edge_embed.search.coding import decode
from edge_embed.search.extract import Extracted

TOP = 10
BETWEEN = "\n\n"
Answer = tuple[int, int, int]  # a document's row, and the letters from which to which it answers


class Collection(NamedTuple):
    """Documents, questions, and where each question is answered."""

    documents: list[str]
    questions: list[str]
    answers: list[Answer]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("models", nargs="+", help="references")
    parser.add_argument("--set", type=Path, required=True, help="a retrieval set")
    parser.add_argument("--chunk-tokens", type=int, nargs="+", default=[16, 64], help="lengths of a passage")
    parser.add_argument("--together", type=int, default=8, help="documents of the set that are joined")


def run(args: argparse.Namespace) -> Report:
    """Cut once, embed in both ways, and search by exact cosines of int8 codes."""
    columns = ("one by one: nDCG@10", "recall@10", "late: nDCG@10", "recall@10")
    table = Table("model", "documents", "tokens", "passages", "a document", *columns)
    figures = []
    for name in args.models:
        with Embedder(name) as model:
            for kind, collection in collections(args.set, args.together).items():
                asked = model.encode_query(collection.questions)
                for tokens in args.chunk_tokens:
                    found = [scored(model, asked, collection, tokens, late) for late in (False, True)]
                    passages = found[0]["passages"]
                    shares = [f"{one[what]:.3f}" for one in found for what in ("ndcg", "recall")]
                    cells = (f"{passages:,.0f}", f"{passages / len(collection.documents):.1f}", *shares)
                    table.add(model.spec.name, kind, str(tokens), *cells)
                    progress(model.spec.name, kind, tokens, *cells)
                    ways = dict(zip(("one by one", "late"), found, strict=True))
                    figures.append({"model": model.spec.name, "documents": kind, "tokens": tokens, **ways})
    return Report([table], {"cases": figures})


def collections(path: Path, together: int) -> dict[str, Collection]:
    """Make the three kinds of documents."""
    questions, documents, relevant = read(path)
    alone = Collection(documents, questions, [(row, 0, len(documents[row])) for row in relevant.tolist()])
    order = random.Random(0).sample(range(len(documents)), len(documents))
    groups = [order[n : n + together] for n in range(0, len(order), together)]
    asking = dict[int, list[str]]()
    for question, row in zip(questions, relevant.tolist(), strict=True):
        asking.setdefault(row, []).append(question)
    joined = join([[(documents[row], asking.get(row, [])) for row in group] for group in groups])
    files = join([[(answer, [question]) for question, answer in pairs] for pairs in own_files()])
    return {"of the set": alone, f"{together} of the set joined": joined, "this project's files": files}


def join(groups: list[list[tuple[str, list[str]]]]) -> Collection:
    """Join texts, each with the questions that it answers, to one document a group."""
    made = Collection([], [], [])
    for row, group in enumerate(groups):
        at = 0
        for text, questions in group:
            made.questions.extend(questions)
            made.answers.extend([(row, at, at + len(text))] * len(questions))
            at += len(text) + len(BETWEEN)
        made.documents.append(BETWEEN.join(text for text, _ in group))
    return made


def scored(model: Embedder, asked: Vectors, collection: Collection, tokens: int, late: bool) -> dict[str, float]:
    """Cut and embed as an index does, and score by the rank of the first passage that lies in the answer."""
    with Index.open(":memory:", model, chunk_tokens=tokens, late_chunking=late) as index:
        cut = [index._documents.cut(Extracted(text)) for text in collection.documents]
        rows = []
        for made in index._documents.encode(cut):
            if isinstance(made, EdgeEmbedError):
                raise made
            rows += [(one.scale, one.codes) for one in made]
        stored = decode(rows, index.meta.dims)
    places = np.array([(n, *one[:2]) for n, document in enumerate(cut) for one in document.passages])
    pairs = zip(asked @ stored.T, collection.answers, strict=True)
    ranks = np.array([rank(scores, places, answer) for scores, answer in pairs])
    ndcg = np.where(ranks < TOP, 1 / np.log2(2 + ranks), 0).mean()
    return {"ndcg": float(ndcg), "recall": float((ranks < TOP).mean()), "passages": len(places)}


def rank(scores: Vectors, places: NDArray[np.int64], answer: Answer) -> int:
    """Return how many passages are nearer than the nearest of those of which more than half lies in the answer."""
    row, start, stop = answer
    inside = np.minimum(places[:, 2], stop) - np.maximum(places[:, 1], start)
    right = (places[:, 0] == row) & (2 * inside > places[:, 2] - places[:, 1])
    return int((scores > scores[right].max()).sum()) if right.any() else len(scores)
