"""AsyncEmbedder: many tasks, one engine, the vectors of Embedder; who leaves costs nothing, who floods must wait."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_embed import AsyncEmbedder, Embedder, InputError, TruncationWarning
from edge_embed.backends import Batch, Rows
from edge_embed.backends.fake import FakeBackend
from edge_embed.batching.batcher import EngineCall
from edge_embed.batching.room import QueueFullError
from edge_embed.errors import BackendError

from support import faults

TEXTS = [f"{letter * (1 + n % 11)} {n}" for n, letter in enumerate("abcdefghijklmnopqrstuvwxyz" * 4)]


def run(embedder: Embedder, body: Callable[[AsyncEmbedder], Awaitable[Any]], **options: Any) -> Any:
    async def main() -> Any:
        async with AsyncEmbedder(embedder, **options) as model:
            return await body(model)

    return asyncio.run(main())


@pytest.mark.parametrize(
    "options",
    [{}, {"side": "query"}, {"prompt_name": "braces", "truncate_dim": 4}, {"precision": "binary"}, {"prompt": "a: "}],
)
def test_each_gets_the_vectors_of_embedder(fake: Embedder, options: dict[str, Any]) -> None:
    expected = fake.encode(TEXTS, **options)

    async def body(model: AsyncEmbedder) -> tuple[Any, Any]:
        return await asyncio.gather(*[model.encode(text, **options) for text in TEXTS]), await model.encode(
            TEXTS, **options
        )

    one_by_one, together = run(fake, body)
    np.testing.assert_array_equal(np.stack(one_by_one), expected)
    np.testing.assert_array_equal(together, expected)


def test_sides_and_nothing(fake: Embedder) -> None:
    queries, documents = fake.encode_query(TEXTS[:3]), fake.encode_document(TEXTS[:3])

    async def body(model: AsyncEmbedder) -> list[Any]:
        return [await model.encode_query(TEXTS[:3]), await model.encode_document(TEXTS[:3]), await model.encode([])]

    got = run(fake, body)
    np.testing.assert_array_equal(got[0], queries)
    np.testing.assert_array_equal(got[1], documents)
    assert got[2].shape == (0, 16)


def test_bit_for_bit_on_a_real_model(converted: Path) -> None:
    texts = [f"Tea number {n} is served. " * (1 + n % 9) for n in range(40)]
    with Embedder(f"{converted}:int8") as model:
        expected = model.encode(texts)

    async def body(model: AsyncEmbedder) -> list[Any]:
        return await asyncio.gather(*[model.encode(text) for text in texts])

    np.testing.assert_array_equal(np.stack(run(Embedder(f"{converted}:int8"), body)), expected)


def test_an_iterator_of_either_kind(fake: Embedder) -> None:
    expected = fake.encode(TEXTS)

    async def later() -> AsyncIterator[str]:
        for text in TEXTS:
            yield text

    async def body(model: AsyncEmbedder) -> list[list[Any]]:
        return [[v async for v in model.encode_iter(iter(TEXTS))], [v async for v in model.encode_iter(later())]]

    for vectors in run(fake, body):
        np.testing.assert_array_equal(np.stack(vectors), expected)


def test_token_ids_are_taken_as_they_are(fake: Embedder) -> None:
    ids = fake._opened.pipeline.tokenizer.tokenize(["tea"]).ids[0].tolist()
    expected = fake.encode(["tea", "a b"])

    async def body(model: AsyncEmbedder) -> Any:
        return await model.compute([ids, "a b"])

    computed = run(fake, body)
    np.testing.assert_array_equal(computed.vectors, expected)
    assert [count.tokens for count in computed.counts] == [5, 4]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ([], "input 1 has 0 token ids, the model takes 1 to 24"),
        ([1] * 25, "input 1 has 25 token ids"),
        ([5, -1], "whole numbers from 0 to"),
        ([5, 10**6], "whole numbers from 0 to"),
        ([True], "whole numbers from 0 to"),
        (3, "input 1 is int 3, expected str"),
        ("a\0", "input 1 has a NUL character"),
        ({"image": b""}, "image 1: fake embeds texts, not images"),
        ("long " * 30, "input 1 has 122 tokens, the limit is 24"),
    ],
)
def test_an_input_that_fails(fake: Embedder, item: Any, message: str) -> None:
    backend = fake._opened.pipeline.backend
    expected = fake.encode(["a", "b"])
    made = len(backend.batches)  # type: ignore[attr-defined]

    async def body(model: AsyncEmbedder) -> Any:
        with pytest.raises(InputError, match=message):
            await model.compute(["a", item, "b"], truncation="error")
        assert len(backend.batches) == made, "nothing was computed"  # type: ignore[attr-defined]
        return await model.compute(["a", item, "b"], truncation="error", errors="return")

    computed = run(fake, body)
    np.testing.assert_array_equal(computed.vectors[[0, 2]], expected)
    assert [*computed.errors] == [1]
    assert message in str(computed.errors[1])


def test_cut_texts_are_warned_of_where_they_were_given(fake: Embedder) -> None:
    async def body(model: AsyncEmbedder) -> None:
        with pytest.warns(TruncationWarning, match="1 of 2 texts were cut to 24 tokens") as caught:
            await model.encode(["a", "long " * 30])
        assert caught[0].filename == __file__

    run(fake, body)


def test_what_was_found_on_the_way(fake: Embedder) -> None:
    calls = list[EngineCall]()

    async def body(model: AsyncEmbedder) -> Any:
        return await model.compute(["tea", "long " * 30], prompt_name="query")

    computed = run(fake, body, observe=calls.append)
    assert (computed.tokens, computed.truncated) == (11 + 24, 1)
    assert computed.timings.tokenize > 0
    assert computed.timings.compute > 0
    assert sum(call.tokens for call in calls) == 35


class SlowBackend(FakeBackend):
    """Computes when it is told to."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.go, self.entered = threading.Event(), threading.Event()

    def forward(self, batch: Batch) -> list[Rows]:
        self.entered.set()
        self.go.wait()
        return super().forward(batch)


@pytest.fixture
def slow(fake: Embedder) -> tuple[Embedder, SlowBackend]:
    pipeline = fake._opened.pipeline
    backend = SlowBackend(pipeline.spec.dim)
    return Embedder.from_parts(pipeline.spec, pipeline.tokenizer, backend), backend


def test_who_is_cancelled_leaves_the_queue(slow: tuple[Embedder, SlowBackend]) -> None:
    embedder, backend = slow

    async def body(model: AsyncEmbedder) -> None:
        first = asyncio.create_task(model.encode("first"))
        await asyncio.to_thread(backend.entered.wait)
        second = asyncio.create_task(model.encode(["gone", "gone too"]))
        third = asyncio.create_task(model.encode("third"))
        while model.queued().texts < 3:
            await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert model.abandoned == 2
        assert model.queued().texts == 1
        backend.go.set()
        assert (await first).shape == (await third).shape == (16,)

    run(embedder, body)
    assert sum(len(batch.ids) for batch in backend.batches) == 2


def test_a_full_queue_makes_wait_or_sends_away(slow: tuple[Embedder, SlowBackend]) -> None:
    embedder, backend = slow

    async def body(model: AsyncEmbedder) -> list[Any]:
        tasks = [asyncio.create_task(model.encode(text)) for text in TEXTS]
        await asyncio.to_thread(backend.entered.wait)
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match=r"\d+ of 100 units are waiting"):
            await model.compute(["more"], block=False)
        assert model.queued().tokens <= 100
        tasks[50].cancel()  # of those that wait outside
        backend.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    got = run(embedder, body, max_queue_tokens=100)
    assert isinstance(got.pop(50), asyncio.CancelledError)
    expected = embedder.encode(TEXTS)
    np.testing.assert_array_equal(np.stack(got), np.delete(expected, 50, axis=0))


def test_more_than_the_queue_holds_has_it_to_itself(fake: Embedder) -> None:
    expected = fake.encode(TEXTS)
    np.testing.assert_array_equal(run(fake, lambda model: model.encode(TEXTS), max_queue_tokens=1), expected)


def test_a_backend_that_fails_takes_down_nobody_else(fake: Embedder) -> None:
    class Broken(FakeBackend):
        def forward(self, batch: Batch) -> list[Rows]:
            if any(len(ids) == 4 for ids in batch.ids):
                raise BackendError("four tokens are too many for this one")
            return super().forward(batch)

    pipeline = fake._opened.pipeline
    broken = Embedder.from_parts(pipeline.spec, pipeline.tokenizer, Broken(16))

    async def body(model: AsyncEmbedder) -> list[Any]:
        texts = ["a", "bb", "ccc", "dd", "e"]
        return await asyncio.gather(*[model.encode(text) for text in texts], return_exceptions=True)

    got = run(broken, body)
    assert [isinstance(one, BackendError) for one in got] == [False, True, False, True, False]


def test_closing_ends_what_waits_and_leaving_the_block_does_not(slow: tuple[Embedder, SlowBackend]) -> None:
    embedder, backend = slow

    async def main() -> None:
        model = AsyncEmbedder(embedder)
        first = asyncio.create_task(model.encode("first"))
        await asyncio.to_thread(backend.entered.wait)
        second = asyncio.create_task(model.encode("second"))
        while not model.queued().texts:
            await asyncio.sleep(0)
        threading.Timer(0.05, backend.go.set).start()
        await asyncio.to_thread(model.close)
        assert (await first).shape == (16,)
        with pytest.raises(BackendError, match="closed before its turn"):
            await second
        with pytest.raises(BackendError, match="was closed"):
            await model.encode("third")

    asyncio.run(main())


def test_late_chunking_pools_each_text_over_the_whole(converted: Path) -> None:
    texts = ["Berlin is the capital of Germany.", "Its people number three million.", " The city is old."]
    with Embedder(f"{converted}:float32") as model:
        pipeline = model._opened.pipeline
        ids, spans = pipeline.tokenizer.spans(" ".join(texts[:2]) + texts[2], "{text}", [(0, 33), (34, 66), (66, 83)])
        rows = pipeline.backend.forward(Batch([ids]))[0]
        expected = np.stack([rows[start:stop].mean(axis=0) for start, stop in spans])
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)

    async def body(model: AsyncEmbedder) -> Any:
        with pytest.raises(InputError, match="the 300 texts have"):
            await model.compute(["a b c"] * 300, late_chunking=True)
        with pytest.raises(InputError, match="input 1 has no token of its own"):
            await model.compute(["a", "  "], late_chunking=True)
        return await model.compute(texts, late_chunking=True)

    computed = run(Embedder(f"{converted}:float32"), body)
    np.testing.assert_allclose(computed.vectors, expected, atol=1e-6)
    assert [count.tokens for count in computed.counts] == [7, 6, 5]


def test_a_fork_is_told_to_open_its_own(fake: Embedder) -> None:
    model = AsyncEmbedder(fake)
    asyncio.run(model.encode("a"))
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(model.encode("a"))
        except BackendError as error:
            os._exit(0 if "forked" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    model.close()


def test_many_callers_of_whom_some_leave_get_their_own(fake: Embedder) -> None:
    """A hundred thousand with EDGE_EMBED_FAULTS: 64 at a time, a fifth of whom leave at some moment."""
    count = 100_000 if faults.long() else 3_000
    rng = random.Random(1)
    embed = dict(zip(TEXTS, fake.encode(TEXTS), strict=True))

    async def caller(model: AsyncEmbedder, share: int) -> int:
        answered = 0
        for _ in range(share):
            texts = rng.choices(TEXTS, k=rng.choice([1, 1, 1, 2, 7]))
            task = asyncio.create_task(model.encode(texts))
            if rng.random() < 0.2:
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                task.cancel()
            try:
                vectors = await task
            except asyncio.CancelledError:
                continue
            np.testing.assert_array_equal(vectors, np.stack([embed[text] for text in texts]))
            answered += 1
        return answered

    async def body(model: AsyncEmbedder) -> int:
        answered = sum(await asyncio.gather(*[caller(model, count // 64) for _ in range(64)]))
        assert model.queued() == (0, 0, 0)
        assert model.running() is None
        return answered

    assert run(fake, body) > count / 2
