"""Models come when they are asked for and go when they are idle or others need the memory, one load at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_embed import InputError
from edge_embed.errors import CorruptModelError
from edge_embed.server.ask import Ask, Failure
from edge_embed.server.models import Model, Models, Served, find_models
from edge_embed.server.settings import Settings

from support.service import WAIT, Loader, model


@pytest.fixture
def loader(tiny_tokenizer: Path) -> Loader:
    return Loader(tiny_tokenizer)


def made(loader: Loader, models: Sequence[Model], **options: Any) -> Models:
    return Models(models, Settings(models=[], **options), lambda call: None, loader)


async def ask(models: Models, name: str | None = None, **fields: Any) -> tuple[Served, Any]:
    asked = Ask(model=name, inputs=["tea"], **fields)
    served = models.find(asked)
    return served, await models.compute(served, asked)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, WAIT))


async def until(true: Any) -> None:
    while not true():
        await asyncio.sleep(0.005)


def test_a_model_is_loaded_once_for_all_who_wait(loader: Loader) -> None:
    async def scene() -> None:
        models = made(loader, [model("a"), model("b")])
        assert not list(models.loaded())
        await asyncio.gather(*(ask(models, name) for name in "aabba"))
        assert sorted(loader.opened) == [("ref-a", None), ("ref-b", None)]
        assert [card.loaded for card in models.cards()] == [True, True]
        await models.aclose()
        assert all(backend.closed for backend in loader.backends)

    run(scene())


def test_models_that_are_too_large_together_take_turns(loader: Loader) -> None:
    async def scene() -> None:
        models = made(loader, [model("a", 60), model("b", 30), model("c", 60)], max_memory=100)
        for name in "abab":
            await ask(models, name)
        assert len(loader.opened) == 2
        await ask(models, "c")  # a was used before b
        assert [card.loaded for card in models.cards()] == [False, True, True]
        assert [backend.closed for backend in loader.backends] == [True, False, False]
        await models.aclose()

    run(scene())


def test_a_model_in_use_is_not_unloaded_for_another(loader: Loader) -> None:
    async def scene() -> None:
        models = made(loader, [model("a", 60), model("b", 60)], max_memory=100)
        await ask(models, "a")
        first = loader.backend
        first.gate.clear()
        busy = asyncio.create_task(ask(models, "a"))
        await until(lambda: models.engine_now(models.find(Ask(model="a", inputs=[]))).running())
        other = asyncio.create_task(ask(models, "b"))
        await asyncio.sleep(0)
        assert not first.closed
        assert len(loader.opened) == 1
        again = asyncio.create_task(ask(models, "a"))  # comes back after b
        first.gate.set()
        await asyncio.gather(busy, other, again)
        assert [reference for reference, _ in loader.opened] == ["ref-a", "ref-b", "ref-a"]
        await models.aclose()

    run(scene())


def test_an_idle_model_is_unloaded_and_comes_back(loader: Loader) -> None:
    async def scene() -> None:
        models = made(loader, [model("a")], idle_unload=0.01)
        await ask(models)
        await until(lambda: loader.backend.closed)
        await until(lambda: not list(models.loaded()))
        assert [(card.loaded, card.expires) for card in models.cards()] == [(False, None)]
        await ask(models)
        assert len(loader.opened) == 2
        await models.aclose()

    run(scene())


def test_a_busy_model_is_not_idle(loader: Loader) -> None:
    async def scene() -> None:
        models = made(loader, [model("a")], idle_unload=0.01)
        before = threading.Event()
        loader.before = lambda: before.wait(WAIT)
        waiting = asyncio.create_task(ask(models))
        await asyncio.sleep(0.05)
        before.set()
        assert len((await waiting)[1].vectors) == 1
        await models.aclose()

    run(scene())


def test_who_leaves_while_it_is_loaded_does_not_end_the_load(loader: Loader) -> None:
    async def scene() -> None:
        models = made(loader, [model("a")])
        before = threading.Event()
        loader.before = lambda: before.wait(WAIT)
        first, second = asyncio.create_task(ask(models)), asyncio.create_task(ask(models))
        await asyncio.sleep(0)
        first.cancel()
        before.set()
        await second
        assert len(loader.opened) == 1
        await models.aclose()

    run(scene())


def test_a_load_that_fails_is_told_to_all_and_tried_again(loader: Loader) -> None:
    async def scene() -> None:
        models = made(loader, [model("a")])
        loader.error = CorruptModelError("/secret is damaged")
        found = await asyncio.gather(ask(models), ask(models), return_exceptions=True)
        assert [str(one) for one in found] == ["the model a cannot be loaded; the server's log says why"] * 2
        assert len(loader.opened) == 1
        loader.error = None
        await ask(models)
        await models.aclose()

    run(scene())


TASKS = {
    "retrieval": {"query": "query", "document": "document"},
    "matching": {"query": "document", "document": "document"},
}


def test_each_task_has_an_engine_of_its_own(loader: Loader) -> None:
    async def scene() -> None:
        models = made(loader, [model("base", tasks=TASKS)])
        await ask(models, "base:retrieval")
        await ask(models, "base", task="retrieval.query")
        served, _ = await ask(models, "base:retrieval.passage")
        assert served.variant.side == "document"
        await ask(models, "base:matching")
        assert loader.opened == [("ref-base", "retrieval"), ("ref-base", "matching")]
        with pytest.raises(Failure, match="has weights for several tasks: name one, as NAME:TASK or by a field of the"):
            await ask(models, "base")
        with pytest.raises(
            Failure, match="has no variant 'other': it has 'document', 'matching', 'query', 'retrieval'"
        ):
            await ask(models, "base:other")
        with pytest.raises(Failure, match="ends in :matching, and the request says the task retrieval: say one"):
            await ask(models, "base:matching", task="retrieval")
        with pytest.raises(Failure, match="ends in :query, and the request says document: say one"):
            await ask(models, "base:query", side="document", task="retrieval")
        with pytest.raises(Failure, match="the task means one side, the request another: say one"):
            await ask(models, "base", side="document", task="retrieval.query")
        await models.aclose()

    run(scene())


def test_preload_loads_every_task(loader: Loader) -> None:
    async def scene() -> None:
        models = made(loader, [model("base", tasks=TASKS), model("a")])
        await models.preload()
        assert loader.opened == [("ref-base", "matching"), ("ref-base", "retrieval"), ("ref-a", None)]
        await models.aclose()

    run(scene())


def test_models_are_found_and_named(converted: Path) -> None:
    settings = Settings(models=[str(converted), f"{converted}:int8=small/one"])
    first, second = asyncio.run(find_models(settings))
    assert (first.name, second.name, second.described.level) == ("all-MiniLM-L6-v2", "small/one", "onnx:int8")
    assert 20 << 20 < second.described.bytes < 30 << 20
    assert second.described.peak > second.described.bytes


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ([], {}, "there is no model to serve"),
        (["{}", "{}:int8"], {}, "two models are called all-MiniLM-L6-v2: give one another name, .*=NAME"),
        (["{}=a b"], {}, "expected MODEL or MODEL=NAME"),
        (["{}:int8"], {"max_memory": 1 << 20}, "max_memory of 1 MB is too little: all-MiniLM-L6-v2 at onnx:int8"),
    ],
)
def test_models_that_cannot_be_served(
    converted: Path, models: list[str], options: dict[str, Any], message: str
) -> None:
    settings = Settings(models=[name.format(converted) for name in models], **options)
    with pytest.raises(InputError, match=message):
        asyncio.run(find_models(settings))


def test_a_checkpoint_that_cannot_fit_is_refused_before_it_is_converted(checkpoint: Path) -> None:
    settings = Settings(models=[str(checkpoint)], max_memory=1 << 20)
    with pytest.raises(
        InputError, match=r"--max-memory of 1 MB is too little: tiny-bert at onnx:.* fewer --max-tokens"
    ):
        asyncio.run(find_models(settings))


def test_a_shorter_length_is_for_those_that_take_more(converted: Path, loader: Loader) -> None:
    (found,) = asyncio.run(find_models(Settings(models=[f"{converted}:int8"], max_tokens=100)))
    assert found.described.spec.max_tokens == 100
    (same,) = asyncio.run(find_models(Settings(models=[f"{converted}:int8"], max_tokens=10_000)))
    assert same.described.spec.max_tokens == 256

    async def scene() -> None:
        models = made(loader, [model("a"), model("b", max_tokens=9)], max_tokens=20)
        await ask(models, "b")
        assert loader.told.max_tokens == 9
        await models.aclose()

    run(scene())
