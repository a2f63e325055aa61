"""The images whose vectors a folder carries, drawn from a seed: the same on every machine and with every NumPy.

A drawing is never changed, since folders carry what it gave; a better one gets a number of its own. The second takes
numbers from SplitMix64 (Steele, Lea and Flood 2014) and adds, multiplies and rounds them, which IEEE 754 defines to the
bit. The first, of folders made before it, asks NumPy's Generator, whose streams NumPy does not promise to keep.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

FIRST, NEWEST = 1, 2
STEP, MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1
Image = NDArray[np.uint8]


def sample_image(seed: int, drawing: int = NEWEST) -> Image:
    """Draw an image (height, width, 3) of waves, patches and noise."""
    return _first(seed) if drawing == FIRST else _second(seed)


def splitmix(seed: int, count: int) -> NDArray[np.float64]:
    """Return the first numbers of SplitMix64 from a seed, each as its upper 53 bits in [0, 1)."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is what is meant
        z = np.uint64(seed & MASK) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(STEP)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    numbers: NDArray[np.float64] = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers


def _second(seed: int) -> Image:
    some: Iterator[float] = iter(splitmix(seed, 64).tolist())

    def between(low: int, high: int) -> int:
        return low + int(next(some) * (high - low))

    height, width = between(180, 420), between(180, 420)
    y, x = np.mgrid[0:height, 0:width]
    canvas = np.empty((height, width, 3))
    for channel in range(3):
        across, down, begin = between(16, 520), between(16, 520), between(0, 1024)
        phase = (x * across + y * down + begin * 16) % 16384 / 8192 - 1  # a wave's length is 16,384 steps
        canvas[..., channel] = 128 + 280 * phase * (1 - np.abs(phase))  # two parabolas, near a sine
    noise = splitmix(seed ^ MASK, 4 * height * width * 3).reshape(4, height, width, 3)
    canvas += 21 * (noise[0] + noise[1] + noise[2] + noise[3] - 2)  # a standard deviation of 12
    for _ in range(6):
        top, left = between(0, height - 40), between(0, width - 40)
        bottom, right = top + between(20, 150), left + between(20, 150)
        canvas[top:bottom, left:right] = [between(0, 256) for _ in range(3)]
    return np.clip(np.round(canvas), 0, 255).astype(np.uint8)


def _first(seed: int) -> Image:
    rng = np.random.default_rng(seed)
    height, width = (int(size) for size in rng.integers(180, 420, 2))
    y, x = np.mgrid[0:height, 0:width] / 100
    waves = [np.sin(rng.uniform(1, 20) * x + rng.uniform(1, 20) * y + rng.uniform(0, 6)) for _ in range(3)]
    canvas = 128 + 70 * np.stack(waves, axis=-1) + rng.normal(0, 12, (height, width, 3))
    for _ in range(6):
        top, left = rng.integers(0, height - 40), rng.integers(0, width - 40)
        canvas[top : top + rng.integers(20, 150), left : left + rng.integers(20, 150)] = rng.integers(0, 256, 3)
    return np.clip(np.round(canvas), 0, 255).astype(np.uint8)
