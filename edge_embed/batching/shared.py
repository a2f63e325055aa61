"""One loaded model for all callers: inputs -> rows beside the event loop -> the batcher -> finished vectors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from edge_embed.images.tiles import most_tiles
from edge_embed.pipeline.encoder import Loaded
from edge_embed.pipeline.options import Options
from edge_embed.pipeline.pipeline import Pipeline
from edge_embed.pipeline.tokenizer import TokenCount
from edge_embed.pipeline.windows import WINDOW

from .batcher import Batcher, EngineCall
from .computed import Computed, Timings
from .engine import ModelEngine
from .late import late_row
from .prepare import Prepared, prepare
from .request import Request
from .room import Room
from .wake import wake

T = TypeVar("T")
INLINE = 1 << 14  # characters that are tokenised in the event loop's own thread: under 5 ms
INLINE_VECTORS = 64  # that are finished there
PIXEL_BYTES = 1 << 28  # of decoded images that wait, all requests together
WINDOW_BYTES = 1 << 26  # of them that one request has waiting
NONE = TokenCount(0, 0)
BESIDE = 16  # tokens that a text takes beside its characters': its prompt's and the closing one
Ids = Mapping[int, Sequence[int]]  # of inputs that are token ids, by position


class Part(NamedTuple):
    """One window, computed: vectors by position in the request, not finished yet."""

    prepared: Prepared
    request: Request
    timings: Timings


class SharedModel:
    """What AsyncEmbedder does, for options that were checked. `opened` gives what is loaded at the time."""

    def __init__(
        self, opened: Callable[[], Loaded], max_queue_tokens: int, observe: Callable[[EngineCall], object]
    ) -> None:
        self._opened = opened
        self.batcher = Batcher(ModelEngine(opened), observe=observe)
        self._tokens, self._pixels = Room(max_queue_tokens), Room(PIXEL_BYTES)
        self._beside = ThreadPoolExecutor(2, "edge-embed-prepare")

    async def compute(self, items: Sequence[object], ids: Ids, options: Options, block: bool) -> Computed:
        """Compute inputs, of which those at the positions of `ids` are token ids, window by window.

        All inputs are checked before any is computed. Raises InputError, BackendError, and QueueFullError if not to
        `block` where there is no room.
        """
        pipeline, pixels = self._opened().pipeline, self._pixels_of_an_image()
        windows = [*pipeline.parse(items, options, max(1, WINDOW_BYTES // pixels) if pixels else WINDOW)]
        parts: list[Part] = []
        for inputs in windows:
            given = {n: ids[inputs.first + n] for n in range(inputs.count) if inputs.first + n in ids}
            room = self._tokens_of([*inputs.texts.values()]) + sum(map(len, given.values()))
            letters = sum(map(len, inputs.texts.values()))
            async with (
                self._tokens.taken(room, block or bool(parts)),
                self._pixels.taken(pixels * len(inputs.images), block or bool(parts)),
            ):
                start = time.monotonic()
                reading = partial(prepare, pipeline, inputs, options, given)
                prepared = await self._call(reading, letters > INLINE or bool(inputs.images))
                parts.append(await self._compute(prepared, options, time.monotonic() - start))
        firsts = [inputs.first for inputs in windows]
        joining = partial(_join, pipeline, options, len(items), [*zip(firsts, parts, strict=True)])
        return await self._call(joining, len(items) > INLINE_VECTORS)

    async def compute_late(self, texts: Sequence[str], options: Options, block: bool) -> Computed:
        """Read texts as one and pool each over its own tokens; raises as `compute` does."""
        pipeline = self._opened().pipeline
        async with self._tokens.taken(self._tokens_of(["".join(texts)]), block):
            start = time.monotonic()
            row, counts = await self._call(partial(late_row, pipeline, texts, options.templates.text), True)
            part = await self._compute(Prepared({0: row}), options, time.monotonic() - start)
        vectors = await self._call(partial(pipeline.finish, part.request.vectors[0], options), True)
        return Computed(vectors=vectors, counts=counts, errors={}, timings=part.timings)

    def close(self, drain: bool = False) -> None:
        """Stop the batcher, when nothing waits any more if it is to `drain`."""
        self.batcher.close(drain)
        self._beside.shutdown()

    async def _compute(self, prepared: Prepared, options: Options, tokenize: float) -> Part:
        """Let the rows take their turns; whoever is cancelled meanwhile takes out what still waits."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        request = Request(prepared.rows, partial(wake, loop, done), options.keep_errors)
        self.batcher.start()
        self.batcher.submit(request)
        try:
            await done
        except asyncio.CancelledError:
            self.batcher.cancel(request)
            raise
        end = time.monotonic()
        if request.errors and not options.keep_errors:
            raise request.errors[min(request.errors)]
        queue = (end if request.started is None else request.started) - request.submitted
        return Part(prepared, request, Timings(tokenize=tokenize, queue=queue, compute=request.compute))

    async def _call(self, function: Callable[[], T], beside: bool) -> T:
        """Call a function beside the event loop, or here, where it takes less than the way to a thread and back."""
        if not beside:
            return function()
        return await asyncio.get_running_loop().run_in_executor(self._beside, function)

    def _tokens_of(self, texts: Sequence[str]) -> int:
        """Return how many tokens texts have at most, as far as can be said without reading them."""
        longest = self._opened().pipeline.spec.max_tokens
        return sum(min(longest, len(text) + BESIDE) for text in texts)

    def _pixels_of_an_image(self) -> int:
        """Return the bytes of one decoded image, all its tiles; 0 where there are none."""
        image = self._opened().pipeline.spec.image
        return 0 if image is None else most_tiles(image) * 3 * image.size[0] * image.size[1] * 4


def _join(pipeline: Pipeline, options: Options, count: int, parts: Sequence[tuple[int, Part]]) -> Computed:
    """Put the windows together, and finish their vectors; `parts` have the first position of each."""
    rows = np.zeros((count, pipeline.spec.dim), np.float32)
    counts, errors = [NONE] * count, dict[int, Exception]()
    for first, part in parts:
        for n, vector in part.request.vectors.items():
            rows[first + n] = vector
        for n, tokens in part.prepared.counts.items():
            counts[first + n] = tokens
        errors |= {
            first + n: error for found in (part.prepared.errors, part.request.errors) for n, error in found.items()
        }
    return Computed(
        vectors=pipeline.finish(rows, options),
        counts=counts,
        errors=errors,
        timings=Timings.total([part.timings for _, part in parts]),
    )
