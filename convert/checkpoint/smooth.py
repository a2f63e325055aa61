"""Move outlier channels from activations into weights (SmoothQuant, Xiao et al. 2022, arXiv 2211.10438).

A channel that is divided by s where it is made and multiplied by s where it is read leaves the function unchanged. What
makes a channel here is always linear in its weights: a norm's gain, `v_proj`, `up_proj`. Gains that stand out are
levelled for every format, by powers of two, which change no float32; all channels are smoothed, by what texts measured,
where activations are rounded row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .arrays import shape_of
from .derived import Derived
from .moments import Moments
from .source import Array

STANDS_OUT = 8  # times a norm's median gain; 1.2 was the largest on the trained miniatures
SHARE = 0.5  # how much of the difficulty goes to the weights; 0.5 is the paper's


@dataclass(frozen=True)
class Pair:
    """One tensor that makes channels, and the weights (out, in) that read them; `layer` names a linear that reads them.

    `copies`: how many readers' channels each made channel stands for, and in heads of which size (grouped attention).
    A norm's gain is its tensor and `shift`; `bias` names the maker's, where it has one.
    """

    maker: str
    readers: tuple[str, ...]
    layer: str
    copies: int = 1
    head_dim: int = 1
    shift: float = 0
    bias: str | None = None


def smoothed(
    tensors: Mapping[str, Array], pairs: Sequence[Pair], moments: Mapping[str, Moments]
) -> Mapping[str, Array]:
    """Rescale every pair's channels by what was measured of them; each tensor is computed when it is asked for."""
    return _Rescaled(tensors, {pair: _smoothing(tensors, pair, moments) for pair in pairs})


def levelled(tensors: Mapping[str, Array], pairs: Sequence[Pair]) -> Mapping[str, Array]:
    """Bring down the gains of norms that stand out; the tensors themselves where none does."""
    scales = {}
    for pair in pairs:
        if not {pair.maker, *pair.readers} <= tensors.keys():
            continue  # whoever reads them says that they are missing
        if len(shape_of(tensors, pair.maker)) == 1:
            gain = np.abs(tensors[pair.maker] + np.float32(pair.shift))
            times: Array = (gain / max(float(np.median(gain)), 1e-12)).astype(np.float32)
            if (times > STANDS_OUT).any():
                scales[pair] = _levelling(tensors, pair, times)
    return _Rescaled(tensors, scales) if scales else tensors


def _smoothing(tensors: Mapping[str, Array], pair: Pair, moments: Mapping[str, Moments]) -> Array:
    """Return s for each made channel: peak of the activation against peak of the weights, shared out by SHARE."""
    peak, weight = moments[pair.layer].peak, _peaks(tensors, pair)
    if pair.copies > 1:
        peak, weight = (_fold(x, pair) for x in (peak, weight))
    scale = np.where((peak > 0) & (weight > 0), peak**SHARE / np.maximum(weight, 1e-12) ** (1 - SHARE), 1)
    return np.clip(scale, 1e-5, 1e5).astype(np.float32)


def _levelling(tensors: Mapping[str, Array], pair: Pair, times: Array) -> Array:
    """Return s likewise, of gains `times` the median, as powers of two: 1 but where a gain stands out."""
    weight = _peaks(tensors, pair)
    share = weight / max(float(np.median(weight)), 1e-12)
    scale = np.where(times > STANDS_OUT, times**SHARE / np.maximum(share, 1e-12) ** (1 - SHARE), 1)
    powers: Array = np.exp2(np.rint(np.log2(np.clip(scale, 1, 1e5)))).astype(np.float32)
    return powers


def _peaks(tensors: Mapping[str, Array], pair: Pair) -> Array:
    """Return the largest weight that reads each channel."""
    peaks: Array = np.max([np.abs(tensors[name]).max(axis=0) for name in pair.readers], axis=0)
    return peaks


class _Rescaled(Derived):
    """A checkpoint's tensors with the channels of some pairs rescaled, each tensor when asked for."""

    def __init__(self, tensors: Mapping[str, Array], scales: Mapping[Pair, Array]) -> None:
        super().__init__(tensors)
        self._made = {pair.maker: (scale, np.float32(pair.shift)) for pair, scale in scales.items()}
        self._made |= {pair.bias: (scale, np.float32(0)) for pair, scale in scales.items() if pair.bias}
        self._read = {name: _repeat(scale, pair) for pair, scale in scales.items() for name in pair.readers}

    def __getitem__(self, name: str) -> Array:
        tensor = super().__getitem__(name)
        if name in self._made:
            scale, shift = self._made[name]
            tensor = (tensor + shift) / (scale if tensor.ndim == 1 else scale[:, None]) - shift
        return tensor * self._read[name] if name in self._read else tensor


def _fold(channels: Array, pair: Pair) -> Array:
    """Take the largest over the copies of each made channel."""
    folded: Array = channels.reshape(-1, pair.copies, pair.head_dim).max(axis=1).reshape(-1)
    return folded


def _repeat(scale: Array, pair: Pair) -> Array:
    heads = scale.reshape(-1, 1, pair.head_dim)
    return np.broadcast_to(heads, (len(heads), pair.copies, pair.head_dim)).reshape(-1)
