"""When is "nothing fits" the answer? Unrelated questions to a small collection, and what right answers reach.

    python -m benchmarks search.nothing MODEL --set retrieval.jsonl
    python -m benchmarks search.nothing MODEL --set retrieval.jsonl --held-out OTHER

The collection is the guide that ships with edge_embed; the questions of the set are about other things, nearly all.
With --held-out the level is chosen anew on one half of the set by the models that are named first, and scored on the
other half, with other models, and on this project's own code and documentation.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.scores import Vectors, read
from benchmarks.report import Report, Table
from benchmarks.search.held_out import PARTS, Pairs, embedded
from edge_embed import Embedder, Index
from edge_embed.cli.demo import QUESTIONS, passages
from edge_embed.search import space
from edge_embed.search.probes import TEXTS

TOP = 10
MOST_LOST = 0.05  # of the right answers: what a level may leave out where it is chosen
STEPS = np.arange(0, 5.01, 0.25)  # deviations above the mean of unrelated pairs


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("models", nargs="+", help="references; with =TASK for one of a base's tasks")
    parser.add_argument("--set", type=Path, required=True, help="a retrieval set")
    parser.add_argument("--queries", type=int, default=300, help="of the set")
    parser.add_argument("--held-out", nargs="+", metavar="MODEL", help="choose anew; these models are scored alone")


def run(args: argparse.Namespace) -> Report:
    """Ask each model's index what has no answer, and compare with answers."""
    if args.held_out:
        return held_out(args.models, args.held_out, read(args.set))
    texts, documents, relevant = read(args.set)
    texts, relevant = texts[: args.queries], relevant[: args.queries]
    table = Table(
        "model", "reference", "unrelated: nothing fits", "right answers left out", "the guide's own questions"
    )
    figures = {}
    for name in args.models:
        with opened(name) as model, Index.open(":memory:", model) as index:
            index.add({"id": n, "text": text} for n, text in enumerate(passages()))
            level = index.meta.reference
            silent = np.mean([not index.search(text, top=1, hybrid=False) for text in texts])
            answered = np.mean([bool(index.search(text, top=1, hybrid=False)) for text in QUESTIONS])
            own = (model.encode_query(texts) * model.encode_document([documents[n] for n in relevant])).sum(axis=1)
            lost = float((own < level).mean())
            table.add(model.spec.name, f"{level:.2f}", f"{silent:.0%}", f"{lost:.1%}", f"{answered:.0%}")
            figures[model.spec.name] = {"reference": level, "silent": float(silent), "lost": lost}
    return Report([table], figures)


def opened(name: str) -> Embedder:
    """Open REFERENCE or REFERENCE=TASK."""
    reference, _, task = name.partition("=")
    return Embedder(reference, task=task or None)


class Case(NamedTuple):
    """What one model makes of some texts, in deviations above the mean of its unrelated pairs.

    `right` of each question's answer, `found` whether that is among the first TOP, `best` of each unrelated question.
    """

    right: Vectors
    found: NDArray[np.bool_]
    best: Vectors

    def at(self, level: float) -> dict[str, float]:
        """Return the shares that a level makes: unrelated questions without an answer, and right answers left out."""
        lost, silent = self.right < level, float((self.best < level).mean())
        return {"silent": silent, "lost": float(lost.mean()), "lost_of_found": float(lost[self.found].mean())}


def held_out(choosing: list[str], others: list[str], pairs: Pairs) -> Report:
    """Choose on each half, and score what is in force everywhere."""
    cases = {(name, part): case for name in [*choosing, *others] for part, case in examine(name, pairs).items()}
    chosen = {part: choose([cases[name, part] for name in choosing]) for part in PARTS[:2]}
    table = Table("model", "texts", "unrelated: nothing fits", "right answers left out", "of those in the first ten")
    rows = []
    for (name, part), case in cases.items():
        shares = case.at(space.DEVIATIONS)
        table.add(Path(name).name, part, *(f"{share:.1%}" for share in shares.values()))
        rows.append({"model": name, "texts": part, **shares, "levels": {z: case.at(z) for z in STEPS.tolist()}})
    told = ", ".join(f"{level} on the {part}" for part, level in chosen.items())
    note = f"Deviations in force: {space.DEVIATIONS}. Chosen for {MOST_LOST:.0%} at most left out: {told}."
    return Report([table, note], {"in force": space.DEVIATIONS, "chosen": chosen, "cases": rows})


def examine(name: str, pairs: Pairs) -> dict[str, Case]:
    """Ask the guide each half's questions, and this project's texts those of the second: neither has an answer."""
    with opened(name) as model:
        unrelated = model.encode_query(list(space.QUESTIONS)) @ model.encode_document(list(TEXTS)).T
        guide = model.encode_document(passages())
        found = {}
        strange = np.empty((0, guide.shape[1]), np.float32)
        for part, _, (asked, stored, relevant) in embedded(model, pairs):
            scores = asked @ stored.T
            right = scores[np.arange(len(asked)), relevant]
            ranks = (scores > right[:, None]).sum(axis=1)
            own = part == PARTS[2]
            best = ((strange if own else asked) @ (stored if own else guide).T).max(axis=1)
            right, best = ((one - unrelated.mean()) / unrelated.std() for one in (right, best))
            found[part], strange = Case(right, ranks < TOP, best), asked
        return found


def choose(cases: list[Case]) -> float:
    """Return the highest level at which no model leaves out more right answers than it may."""
    fit = [level for level in STEPS.tolist() if all(case.at(level)["lost"] <= MOST_LOST for case in cases)]
    return float(max(fit))
