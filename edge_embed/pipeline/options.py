"""What one call asks for, checked."""

from __future__ import annotations

from dataclasses import dataclass

from edge_embed.images.sources import ImageSources
from edge_embed.spec.model import TEXT
from edge_embed.vectors import Precision

from .tokenizer import Truncation

EVERYWHERE = ImageSources()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What one call of encode asks for, checked. `pictures`: every input is one."""

    templates: Templates
    dim: int
    precision: Precision
    normalize: bool
    truncation: Truncation
    batch_tokens: int
    pictures: bool = False
    sources: ImageSources = EVERYWHERE
    keep_errors: bool = False


@dataclass(frozen=True)
class Templates:
    """The prompt's template for each kind of input; without a picture's token only texts have one."""

    text: str
    image: str = TEXT
    composed: str = TEXT
