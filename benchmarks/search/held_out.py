"""What chose nothing in the search: a set's other half, and this project's own code and documentation."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.scores import Vectors
from edge_embed import Embedder

ROOT = Path(__file__).parents[2]
LEAST_WORDS, LEAST_LINES = 4, 3  # of a question, and of a function that answers one
MOST_LETTERS = 1000  # of an answer: about a passage
PARTS = ("first half", "second half", "own texts")
Pairs = tuple[list[str], list[str], NDArray[np.intp]]
Embedded = tuple[Vectors, Vectors, NDArray[np.intp]]


def second_half(texts: list[str]) -> NDArray[np.bool_]:
    """Say which texts are in the second half, by a hash of each alone: the same ones in every set and every order."""
    return np.array([hashlib.blake2b(text.encode(), digest_size=1).digest()[0] % 2 == 1 for text in texts], bool)


def halves(pairs: Pairs) -> list[Pairs]:
    """Part a set by its queries; all documents are searched by both halves."""
    queries, documents, relevant = pairs
    second = second_half(queries)
    rows = [np.flatnonzero(second == half) for half in (False, True)]
    return [([queries[n] for n in part], documents, relevant[part]) for part in rows]


def embedded(model: Embedder, pairs: Pairs) -> Iterator[tuple[str, Pairs, Embedded]]:
    """Yield each of PARTS by its name, the two halves of a set and this project's texts, with the vectors of both."""
    known: dict[int, Vectors] = {}
    for part, (queries, documents, relevant) in zip(PARTS, [*halves(pairs), own_texts()], strict=True):
        if id(documents) not in known:  # the halves share theirs
            known[id(documents)] = model.encode_document(documents)
        yield part, (queries, documents, relevant), (model.encode_query(queries), known[id(documents)], relevant)


def own_texts() -> Pairs:
    """Return questions to this project's own texts, the passages, and the row of each question's answer.

    No model was trained on them, and nothing was chosen by them.
    """
    found = dict[str, str]()
    for pairs in own_files():
        for question, answer in pairs:
            found.setdefault(question, answer)
    return [*found], [*found.values()], np.arange(len(found))


def own_files() -> list[list[tuple[str, str]]]:
    """Return questions and answers of each file of this project's code and documentation.

    The first sentence of a function's docstring asks for its code, a heading of the documentation, behind its page's,
    for the text below it.
    """
    code = [[*_functions(path)] for path in sorted(ROOT.glob("edge_embed/**/*.py"))]
    pages = [[*_sections(path.read_text("utf-8"))] for path in sorted(ROOT.glob("docs/**/*.md"))]
    return [pairs for pairs in [*code, *pages] if pairs]


def _functions(path: Path) -> Iterator[tuple[str, str]]:
    text = path.read_text("utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (said := ast.get_docstring(node)) is None:
            continue
        question = " ".join(said.partition("\n\n")[0].split())
        body = lines[node.lineno - 1 : node.body[0].lineno - 1] + lines[node.body[0].end_lineno or 0 : node.end_lineno]
        if len(question.split()) >= LEAST_WORDS and len(body) >= LEAST_LINES:
            yield question, "\n".join(body)[:MOST_LETTERS]


def _sections(text: str) -> Iterator[tuple[str, str]]:
    title = ""
    for part in f"\n{text}".split("\n#")[1:]:
        heading, _, answer = part.partition("\n")
        heading = heading.lstrip("# ").strip()
        title = title or heading
        question = title if heading == title else f"{title}: {heading}"
        if answer.strip():
            yield question, answer.strip()[:MOST_LETTERS]
