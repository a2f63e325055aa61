"""With what texts are filled up, in models that were trained to read that like any other token, such as SigLIP."""

from __future__ import annotations

from dataclasses import dataclass

from .values import LARGEST


@dataclass(frozen=True, kw_only=True)
class Fill:
    """A text has as many of `token` at its end as bring it to `length` tokens."""

    token: str
    length: int


def unfit(fill: Fill | None, max_tokens: int) -> bool:
    """Whether a fill cannot be: no token, or a length that texts of `max_tokens` exceed."""
    return fill is not None and not (fill.token and max_tokens <= fill.length <= LARGEST)
