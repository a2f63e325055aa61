"""A loaded model as the batcher's engine: texts and images -> pooled vectors, not yet cut or normalised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from edge_embed.backends import Rows
from edge_embed.images.tiles import TILES_AT_ONCE, most_tiles
from edge_embed.pipeline.encoder import Loaded
from edge_embed.pipeline.rows import TextRow, compute_rows
from edge_embed.spec.image import ImagePixels

from .request import Row, Vector


@dataclass(frozen=True)
class ImageRow:
    """An image's pixels; `read` puts its rows into their prompt, for models that read images among their tokens."""

    pixels: ImagePixels
    read: Callable[[Rows], TextRow] | None = None
    kind: ClassVar = "image"
    length: ClassVar = 1


class ModelEngine:
    """Computes with whatever the model has loaded at the time: its task may be switched between calls."""

    def __init__(self, opened: Callable[[], Loaded]) -> None:
        self._opened = opened

    @property
    def budgets(self) -> Mapping[str, int]:
        """Tokens for texts, padding included; a number for images."""
        opened = self._opened()
        image = opened.pipeline.spec.image
        images = 1 if image is None else max(1, TILES_AT_ONCE // most_tiles(image))
        return {TextRow.kind: opened.batch_tokens, ImageRow.kind: images}

    def compute(self, rows: Sequence[Row]) -> list[Vector | Row]:
        """Run rows of one kind; an image among tokens becomes a text."""
        pipeline = self._opened().pipeline
        if rows[0].kind == TextRow.kind:
            return [*compute_rows(pipeline.backend, pipeline.head, cast(Sequence[TextRow], rows))]
        images = cast(Sequence[ImageRow], rows)
        assert pipeline.vision is not None
        hidden = pipeline.vision.forward([row.pixels for row in images])
        return [one[0] if row.read is None else row.read(one) for row, one in zip(images, hidden, strict=True)]
