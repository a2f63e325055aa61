"""Real texts of mixed length and language that come with Python and with this project; the same list every time."""

from __future__ import annotations

import random
from pydoc_data.topics import topics

from .places import ROOT

PROBES = ROOT / "convert" / "verification" / "probes.txt"


def texts(count: int, shortest: int = 10, longest: int = 1500) -> list[str]:
    """Return passages of Python's language reference and sentences in many languages; lengths in characters."""
    rng = random.Random(count)
    sentences = PROBES.read_text("utf-8").splitlines()
    source = " ".join(" ".join(text.split()) for text in topics.values())
    out = []
    for n in range(count):
        if n % 4 == 0:
            out.append(" ".join(rng.sample(sentences, rng.choice((1, 1, 2, 5)))))
        else:
            length = round(shortest * (longest / shortest) ** rng.random())
            start = rng.randrange(len(source) - length)
            out.append(source[start : start + length])
    return out
