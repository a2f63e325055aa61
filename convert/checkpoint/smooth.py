"""Move outlier channels from activations into weights (SmoothQuant, Xiao et al. 2022, arXiv 2211.10438).

A channel that is divided by s where it is made and multiplied by s where it is read leaves the function unchanged. What
makes a channel here is always linear in its weights: a norm's gain, `v_proj`, `up_proj`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .moments import Moments
from .source import Array

SHARE = 0.5  # how much of the difficulty goes to the weights; 0.5 is the paper's


@dataclass(frozen=True)
class Pair:
    """One tensor that makes channels, and the weights (out, in) that read them; `layer` names a linear that reads them.

    `copies`: how many readers' channels each made channel stands for, and in heads of which size (grouped attention).
    """

    maker: str
    readers: tuple[str, ...]
    layer: str
    copies: int = 1
    head_dim: int = 1


class Smoothed(Mapping[str, Array]):
    """A checkpoint's tensors with every pair's channels rescaled, each tensor when asked for."""

    def __init__(self, tensors: Mapping[str, Array], pairs: Sequence[Pair], moments: Mapping[str, Moments]) -> None:
        self._tensors = tensors
        self._made: dict[str, Array] = {}
        self._read: dict[str, Array] = {}
        for pair in pairs:
            scale = self._scale(pair, moments)
            self._made[pair.maker] = scale
            self._read.update(dict.fromkeys(pair.readers, _repeat(scale, pair)))

    def _scale(self, pair: Pair, moments: Mapping[str, Moments]) -> Array:
        """Return s for each made channel: peak of the activation against peak of the weights, shared out by SHARE."""
        peak = moments[pair.layer].peak
        weight = np.max([np.abs(self._tensors[name]).max(axis=0) for name in pair.readers], axis=0)
        if pair.copies > 1:
            peak, weight = (_fold(x, pair) for x in (peak, weight))
        scale = np.where((peak > 0) & (weight > 0), peak**SHARE / np.maximum(weight, 1e-12) ** (1 - SHARE), 1)
        return np.clip(scale, 1e-5, 1e5).astype(np.float32)

    def __getitem__(self, name: str) -> Array:
        tensor = self._tensors[name]
        if name in self._made:
            scale = self._made[name]
            tensor = tensor / (scale if tensor.ndim == 1 else scale[:, None])
        return tensor * self._read[name] if name in self._read else tensor

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _fold(channels: Array, pair: Pair) -> Array:
    """Take the largest over the copies of each made channel."""
    folded: Array = channels.reshape(-1, pair.copies, pair.head_dim).max(axis=1).reshape(-1)
    return folded


def _repeat(scale: Array, pair: Pair) -> Array:
    heads = scale.reshape(-1, 1, pair.head_dim)
    return np.broadcast_to(heads, (len(heads), pair.copies, pair.head_dim)).reshape(-1)
