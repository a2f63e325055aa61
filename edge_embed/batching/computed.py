"""What the batcher gives back for one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_embed.pipeline.pieces import Piece
from edge_embed.pipeline.tokenizer import TokenCount
from edge_embed.vectors import Array


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Seconds that a request took: to tokenise, to wait, and in engine calls with its inputs, whoever shared them."""

    tokenize: float = 0.0
    queue: float = 0.0
    compute: float = 0.0

    @classmethod
    def total(cls, parts: Sequence[Timings]) -> Timings:
        """Add up what one window took after the other."""
        return cls(
            tokenize=sum(part.tokenize for part in parts),
            queue=sum(part.queue for part in parts),
            compute=sum(part.compute for part in parts),
        )


@dataclass(frozen=True, kw_only=True)
class Computed:
    """Finished vectors (n, dim) in the order of the inputs, and what was found on the way.

    `counts` has one entry an input: its tokens with prompt and closing token, and how many of them were cut; an image
    of a model with a tower of its own counts none. Where `errors` were asked for they stand by the input's position,
    and its vector is of no use. `pieces` are the inputs' tokens, where they were asked for in place of vectors.
    """

    vectors: Array
    counts: Sequence[TokenCount]
    errors: Mapping[int, Exception]
    timings: Timings
    pieces: Sequence[Sequence[Piece]] = ()

    @property
    def tokens(self) -> int:
        """How many tokens were computed."""
        return sum(count.tokens - count.cut for count in self.counts)

    @property
    def truncated(self) -> int:
        """How many inputs were cut."""
        return sum(count.cut > 0 for count in self.counts)
