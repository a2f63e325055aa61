"""What a model's weights will take of the memory, as its headers tell: the parts that every backend adds up.

Every figure of the backends' `footprint.py` was measured by `python -m benchmarks memory.plan` on Linux, x86-64:
all-MiniLM-L6-v2 and random weights in the shapes of v5-nano and v5-small, the resident peak of a process that embeds
one batch. The pages of mapped files count as resident, although the system may take them back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_embed.spec.model import ModelSpec
from edge_embed.spec.values import plausible

TOUCHED = 64 << 10  # bytes of a mapped table that one row brings into memory, with its neighbours
MLP_COPIES = 4  # buffers of the MLP's width that are alive at once, for each token
# Buffers of the model's width beside them, of attention that copies queries, keys and values: MultiHeadAttention.
ATTENTION_COPIES = 6.7


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes that a text part takes at its peak; `output` is the engine's own buffer."""

    weights: int
    kv: int = 0
    compute: int = 0
    output: int = 0


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a footprint is computed from: where a file's header can be read, config.json's values, and the spec."""

    header: Callable[[str], Path]
    config: Mapping[str, Any]
    spec: ModelSpec

    def number(self, key: str, default: int) -> int:
        """Return a number of config.json, or of its text part; `default` where there is none."""
        text = self.config.get("text_config")
        merged = {**(text if isinstance(text, dict) else {}), **self.config}
        return plausible(merged.get(key), default)

    @property
    def mlp_width(self) -> int:
        """The width of the MLP."""
        return self.number("intermediate_size", 4 * self.spec.width)


def touched(table: int, rows: int) -> int:
    """Return how much of a mapped table is resident after `rows` rows of it, anywhere, were read."""
    return int(table * -math.expm1(-rows * TOUCHED / table)) if table else 0
