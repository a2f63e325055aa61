"""Rotary positions (Su et al. 2021, arXiv 2104.09864): what config.json says of them, and how fast each pair turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.spec.values import shown

from ._checks import CONFIG, real


class Rotary(Protocol):
    """A config with rotary positions, which are divided by `rope_divisor`."""

    @property
    def head_dim(self) -> int: ...
    @property
    def rope_theta(self) -> float: ...
    @property
    def rope_divisor(self) -> float: ...


def inverse_frequencies(size: int, theta: float, divisor: float = 1.0) -> NDArray[np.float32]:
    """Return theta^(-2i/size) over the divisor, of a head of `size` numbers: (size / 2,)."""
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    return (1 / np.float32(theta) ** exponents / np.float32(divisor)).astype(np.float32)


def read_theta(rope: Mapping[str, Any], stated: Any, kinds: tuple[str, ...] = ("default",)) -> float:
    """Return theta, from rotary parameters or else as `stated` beside them; refuse kinds that are not among `kinds`."""
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in kinds:
        known = " and ".join(map(repr, kinds))
        raise UnsupportedModelError(
            f"{CONFIG}: rope_type={shown(kind)} is not implemented; {known} {'are' if len(kinds) > 1 else 'is'}"
        )
    if (theta := real({"rope_theta": rope.get("rope_theta", stated)}, "rope_theta")) == 0:
        raise CorruptModelError(f"{CONFIG}: rope_theta={theta} must be above 0")
    return theta
