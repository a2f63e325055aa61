"""How fast an engine was lately, and so how long a number of tokens will take it."""

from __future__ import annotations

from edge_embed.pipeline.batches import CALL_COST

MEMORY = 0.9  # of what was known: a call counts for a tenth, so some twenty calls forget another load
PADDING = 1.1  # tokens that are computed for each that waits; planned batches of mixed lengths measured 1.1
FULL_CALL = 1024  # tokens of a call when much waits


class Rate:
    """Costs, a call's own among them, by seconds; nothing is known before the first call."""

    def __init__(self) -> None:
        self._cost = self._seconds = 0.0

    def add(self, padded: int, seconds: float) -> None:
        """Learn from a call of so many tokens, padding included."""
        self._cost = MEMORY * self._cost + padded + CALL_COST
        self._seconds = MEMORY * self._seconds + seconds

    def call(self, padded: int) -> float:
        """Predict the seconds of one call; 0 while nothing is known."""
        return (padded + CALL_COST) * self._seconds / self._cost if self._cost else 0.0

    def backlog(self, tokens: int) -> float:
        """Predict the seconds until so many waiting tokens are computed; 0 while nothing is known."""
        padded = tokens * PADDING
        return self.call(int(padded)) + padded // FULL_CALL * self.call(0) if tokens else 0.0
