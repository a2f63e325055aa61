"""What the server needs of a loaded model that many requests share; `AsyncEmbedder` is one, tests have another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from edge_embed.batching.batcher import EngineCall, Queued
from edge_embed.batching.computed import Computed
from edge_embed.pipeline.tokenizer import Truncation
from edge_embed.spec.model import ModelSpec, Side

from .settings import Settings

Observe = Callable[[EngineCall], None]  # is told of each EngineCall, in the engine's thread


class Embeds(Protocol):
    """A loaded model."""

    @property
    def spec(self) -> ModelSpec:
        """What it is."""

    @property
    def level(self) -> str:
        """Which weights it has, such as onnx:int8."""

    @property
    def backend(self) -> str:
        """Which backend runs them."""


class Engine(Protocol):
    """A loaded model and its queue."""

    @property
    def embedder(self) -> Embeds:
        """The model."""

    @property
    def abandoned(self) -> int:
        """How many texts were dropped since their caller had left."""

    async def compute(
        self,
        inputs: Sequence[Any],
        *,
        side: Side | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        normalize_embeddings: bool | None = None,
        truncation: Truncation = "end",
        errors: Literal["raise", "return"] = "raise",
        late_chunking: bool = False,
        block: bool = True,
    ) -> Computed:
        """Embed inputs; cancelled, it drops those that wait."""

    async def pieces(self, texts: Sequence[Any], special: bool = True) -> Computed:
        """Tell each text's tokens in place of its vector."""

    def predicted_wait(self, tokens: int = 0) -> float:
        """Return in how many seconds what waits, and so many tokens more, will be done."""

    def queued(self) -> Queued:
        """Tell how much waits."""

    def running(self) -> tuple[float, float] | None:
        """Return the seconds that the engine's call has taken so far, and those predicted."""

    async def aclose(self) -> None:
        """Free its memory when what waits is done."""


Open = Callable[[str, "str | None", Settings, Observe], Engine]


def open_engine(reference: str, task: str | None, settings: Settings, observe: Observe) -> Engine:
    """Load a model for callers who are not the machine's user; blocks. Raises as Embedder does."""
    from edge_embed.batching.async_embedder import AsyncEmbedder
    from edge_embed.embedder import Embedder

    from .inputs import sources

    embedder = Embedder(
        reference,
        task=task,
        max_tokens=settings.max_tokens,
        max_memory=settings.max_memory,
        workload=settings.workload,
        threads=settings.threads,
        offline=settings.offline,
        image_sources=sources(settings.images),
        special_tokens="text",
    )
    return AsyncEmbedder(embedder, max_queue_tokens=settings.max_queue_tokens, observe=observe)
