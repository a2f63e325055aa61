"""Which files hold a part of a model, in which format and at which level; what a level is, and which is how exact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .golden import Fidelity

Level = str

# Most exact first.
LEVELS: dict[str, tuple[Level, ...]] = {
    "onnx": ("float32", "float16", "int8", "int4"),
    "mlx": ("float32", "bfloat16", "float16", "8bit", "6bit", "5bit", "4bit", "3bit", "2bit"),
    "gguf": (
        *("F32", "BF16", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_1", "Q5_K_S", "Q5_0", "Q4_K_M", "Q4_1", "Q4_K_S"),
        *("IQ4_NL", "IQ4_XS", "Q4_0", "Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S", "Q3_K_S", "IQ3_XS", "IQ3_XXS"),
        *("Q2_K", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a model: path relative to the model's folder, SHA-256 in hex, size in bytes (None: not known)."""

    path: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The files that hold one part of a model in one format at one quantisation level; the first is the one to open."""

    format: str
    level: Level
    files: tuple[File, ...]
    part: str = "text"
    fidelity: Fidelity | None = None


def image_level(level: Level) -> Level:
    """Return the level of the ONNX image part that goes with a level of GGUF: no coarser than what it stands beside.

    CLIP-L at 336 pixels: float16, which is computed in float32, takes 1.5 GB and 14.7 CPU seconds for five tiles, int8
    takes 0.5 GB and 7.4 seconds, at a mean cosine of 0.9994 to float32 in jina-clip-v1's tower.
    """
    return "float16" if LEVELS["gguf"].index(level) <= LEVELS["gguf"].index("Q8_0") else "int8"


def most_exact(weights: Sequence[Weights]) -> Weights:
    """Return the weights of the level that its format lists first; ONNX before the others, whose engines are extras."""
    return min(weights, key=lambda one: (one.format != "onnx", LEVELS[one.format].index(one.level)))


def image_part(weights: Iterable[Weights], text: Weights) -> Weights | None:
    """Return the weights of the image part that go with the text part's: of its level, or the least exact above it.

    Where the text part's format has none, as GGUF, it is the ONNX one.
    """
    levels = LEVELS[text.format]
    every = [one for one in weights if one.part == "image"]
    parts = [one for one in every if one.format == text.format]
    if not parts:
        others = [one for one in every if one.format == "onnx"]
        fitting = (one for one in others if text.format == "gguf" and one.level == image_level(text.level))
        return next(fitting, next(iter(others), None))
    above = [one for one in parts if levels.index(one.level) <= levels.index(text.level)]
    return max(above, key=lambda one: levels.index(one.level)) if above else next(iter(parts), None)
