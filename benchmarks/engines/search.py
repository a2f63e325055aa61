"""Searches an index by given vectors, for search.scale; the first request opens it.

    python -m benchmarks.engines.search INDEX QUERIES.npz WAY

QUERIES.npz has `vectors` and `texts`; a request is the number of one. WAY is meaning, or words, which joins these in.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np

from benchmarks.worker import memory_mb, serve
from edge_embed import Index
from edge_embed.search.filters import Filters
from edge_embed.search.query import Query

TOP = 10


def main() -> None:
    """Serve."""
    path, asked, way = sys.argv[1:]
    with np.load(asked) as queries:
        vectors, texts = queries["vectors"], queries["texts"].tolist()
    before = memory_mb("VmRSS")
    opened = cache(lambda: Index.open(path, create=False))

    def search(n: int) -> list[Any]:
        text = texts[n] if way == "words" else None
        query = Query(vector=vectors[n], text=text, top=TOP, filters=Filters(), least=-1.0)
        return opened()._database.answer(query)

    serve(
        search,
        details=lambda _, hits: {
            "rows": [int(hit.text.split()[0]) for hit in hits],
            "mb": memory_mb("VmRSS") - before,
        },
    )


if __name__ == "__main__":
    main()
