"""Ragged texts -> the padded inputs of a graph, and its padded output -> ragged rows. Padding stays between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends import Batch, Rows
from edge_embed.errors import CorruptModelError


@dataclass(frozen=True)
class PaddedTexts:
    """What a graph may ask for by name, int64 (texts, width); on which side it was padded, and the real lengths."""

    inputs: Mapping[str, NDArray[np.int64]]
    lengths: NDArray[np.int64]
    left: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Texts, and tokens of the longest."""
        return self.inputs["input_ids"].shape

    @property
    def tokens(self) -> int:
        """How many tokens are computed, padding included."""
        return self.inputs["input_ids"].size

    def rows(self, out: Any, path: Path, name: str) -> list[Rows]:
        """Return each text's rows of what a graph gave for all; one row each where it pools inside.

        Raises CorruptModelError for an output that has not a row for each text or token.
        """
        shape, (count, width) = getattr(out, "shape", ()), self.shape
        if len(shape) not in (2, 3) or len(out) != count or out.dtype.kind not in "fiu":
            raise CorruptModelError(
                f"{path}: the output {name!r} has the shape {shape} for {count} texts of {width} tokens; "
                "a row of numbers for each text or token is needed: get or convert the model again"
            )
        out = out.astype(np.float32, copy=False)
        if out.ndim == 2:
            return [row[None] for row in out]
        return [row[width - n :] if self.left else row[:n] for row, n in zip(out, self.lengths, strict=True)]


def pad(batch: Batch, left: bool) -> PaddedTexts:
    """Pad a batch to its longest text, on the left or on the right."""
    lengths = np.array([len(ids) for ids in batch.ids])
    width = int(lengths.max())
    at = np.arange(width)
    mask = at >= width - lengths[:, None] if left else at < lengths[:, None]
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = np.concatenate(batch.ids)
    inputs: dict[str, NDArray[np.int64]] = {
        "input_ids": ids,
        "attention_mask": mask.astype(np.int64),
        "token_type_ids": np.zeros_like(ids),
        "position_ids": np.clip(mask.cumsum(axis=1) - 1, 0, None),
    }
    return PaddedTexts(inputs, lengths, left)
