"""What calibration measured of a linear layer's input."""

from __future__ import annotations

from dataclasses import dataclass

from .source import Array

LONGEST = 512  # tokens of one text: statistics need many texts more than long ones


@dataclass(frozen=True)
class Moments:
    """Of one linear layer's input, over `count` tokens: mean of squares (in,) and largest magnitude (in,)."""

    square: Array
    peak: Array
    count: int
