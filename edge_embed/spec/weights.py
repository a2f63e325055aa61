"""Which files hold a part of a model, in which format and at which level; what a level is, and which is how exact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .golden import Fidelity

Format = Literal["onnx", "gguf", "mlx", "static"]
Part = Literal["text", "image"]
Level = str

# Highest precision first.
LEVELS: dict[Format, tuple[Level, ...]] = {
    "onnx": ("float32", "float16", "int8", "int4"),
    "mlx": ("float32", "bfloat16", "float16", "8bit", "6bit", "5bit", "4bit", "3bit", "2bit"),
    "gguf": (
        *("F32", "BF16", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_1", "Q5_K_S", "Q5_0", "Q4_K_M", "Q4_1", "Q4_K_S"),
        *("IQ4_NL", "IQ4_XS", "Q4_0", "Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S", "Q3_K_S", "IQ3_XS", "IQ3_XXS"),
        *("Q2_K", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"),
    ),
    "static": ("float32", "float16", "int8"),
}

# As models are published that have several formats; a static model has its own alone.
REPOSITORY_SUFFIXES: dict[Format, str] = {"gguf": "-GGUF", "mlx": "-mlx", "onnx": ""}


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a model: path relative to the model's folder, SHA-256 in hex, size in bytes (None: not known)."""

    path: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The files that hold one part of a model in one format at one quantisation level; the first is the one to open."""

    format: Format
    level: Level
    files: tuple[File, ...]
    part: Part = "text"
    fidelity: Fidelity | None = None

    @property
    def name(self) -> str:
        """`format:level`, as a user names it."""
        return f"{self.format}:{self.level}"


def image_level(level: Level) -> Level:
    """Return the ONNX level for the image part of a GGUF model; never less precise than the text part.

    CLIP-L at 336 pixels: float16, which is computed in float32, takes 1.5 GB and 14.7 CPU seconds for five tiles, int8
    takes 0.5 GB and 7.4 seconds, at a mean cosine of 0.9994 to float32 in jina-clip-v1's tower.
    """
    return "float16" if LEVELS["gguf"].index(level) <= LEVELS["gguf"].index("Q8_0") else "int8"


def precision_rank(weights: Weights) -> int:
    """Return the place of the weights' level among its format's, 0 for the highest precision."""
    return LEVELS[weights.format].index(weights.level)


def highest_precision(weights: Sequence[Weights]) -> Weights:
    """Return the weights of the level that its format lists first; ONNX before the others, whose engines are extras."""
    return min(weights, key=lambda candidate: (candidate.format != "onnx", precision_rank(candidate)))


def image_part(weights: Iterable[Weights], text: Weights) -> Weights | None:
    """Return the image part that goes with a text part: of its level, else the least precise of those above it.

    Where the text part's format has none, as GGUF, it is the ONNX one.
    """
    images = [part for part in weights if part.part == "image"]
    same_format = [part for part in images if part.format == text.format]
    if not same_format:
        onnx = [part for part in images if part.format == "onnx"]
        fitting = (part for part in onnx if text.format == "gguf" and part.level == image_level(text.level))
        return next(fitting, next(iter(onnx), None))
    above = [part for part in same_format if precision_rank(part) <= precision_rank(text)]
    return max(above, key=precision_rank) if above else next(iter(same_format), None)


def format_of(level: Level | None) -> Format | None:
    """Return the format that a level implies: the only one that has it."""
    formats = [name for name in REPOSITORY_SUFFIXES if level in LEVELS[name]]
    return formats[0] if len(formats) == 1 else None
