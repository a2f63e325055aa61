"""A fake model that takes images, and what opens it for the service."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge_embed import AsyncEmbedder, Embedder
from edge_embed.backends.fake import FakeBackend, FakeImageBackend
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.server.engine import Engine, Observe
from edge_embed.server.inputs import sources
from edge_embed.server.settings import Settings
from edge_embed.spec.image import ImageSpec

from .fake import SPEC
from .service import Loader

SEES = replace(SPEC, image=ImageSpec(size=(8, 8)))


class SeeingLoader(Loader):
    """Opens fake models that take images."""

    def __call__(self, reference: str, task: str | None, settings: Settings, observe: Observe) -> Engine:
        embedder = seeing(self.tokenizer)
        embedder._sources = sources(settings.images)
        return AsyncEmbedder(embedder, observe=observe)


def seeing(tokenizer: Path) -> Embedder:
    words = TextTokenizer(tokenizer, SEES.max_tokens, "text")
    return Embedder.from_parts(SEES, words, FakeBackend(SEES.dim), FakeImageBackend(SEES.dim))
