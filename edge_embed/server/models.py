"""The models that are served: found when the service starts, loaded when they are asked for, unloaded when idle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from edge_embed.batching.computed import Computed
from edge_embed.errors import InputError
from edge_embed.spec.model import ModelSpec

from . import names
from .ask import Answer, Ask, Card, Failure
from .describe import Described, describe
from .engine import Engine, Observe, Open, open_engine
from .residence import Memory, Residence
from .settings import Settings


@dataclass(eq=False)
class Model:
    """A model by its name, and its engines by task, those of them that are loaded or being loaded."""

    name: str
    reference: str
    described: Described
    residences: dict[str | None, Residence] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A request's model, found and held: `task` and `side` as its name and its fields say."""

    model: Model
    variant: names.Variant


class Models:
    """All models of the service, by name; an event loop's own, and closed in it.

    `observe` is told of each engine call, in the engine's thread; `open` loads a model in a thread.
    """

    def __init__(self, models: Sequence[Model], settings: Settings, observe: Observe, open: Open = open_engine) -> None:
        self._models = {model.name: model for model in models}
        self._settings, self._observe, self._open = settings, observe, open
        self._memory = Memory(settings.max_memory, settings.idle_unload)
        self.abandoned_before = 0  # texts, by engines that are closed

    @property
    def loading(self) -> bool:
        """Whether one is being loaded, even for nobody any more."""
        return self._memory.loads.running

    @property
    def names(self) -> list[str]:
        """The models' names, the first of them the default."""
        return list(self._models)

    def find(self, ask: Ask) -> Served:
        """Find what a request asks for; raises Failure or InputError."""
        model, variant = names.find(self._models, ask.model)
        spec = model.described.spec
        _check_dim(model.name, spec, ask.dim)
        return Served(model=model, variant=names.resolve(spec, variant, ask.task, ask.side, ask.purpose))

    def engine_now(self, served: Served) -> Engine | None:
        """Return the engine, if it is loaded."""
        residence = served.model.residences.get(served.variant.task)
        return residence.engine if residence else None

    async def compute(self, served: Served, ask: Ask) -> Computed:
        """Embed with the model, which is loaded first where it is not; raises as its engine does, or Failure."""
        residence = self._residence(served.model, served.variant.task)
        async with residence.used() as engine:
            if ask.pieces is not None:
                return await engine.pieces(ask.inputs, ask.pieces == "all")
            return await engine.compute(
                ask.inputs,
                side=served.variant.side,
                prompt_name=ask.prompt_name,
                prompt=ask.prompt,
                truncate_dim=ask.dim,
                normalize_embeddings=ask.normalize,
                truncation=ask.truncation,
                errors="return" if ask.keep_errors else "raise",
                late_chunking=ask.late_chunking,
                block=False,
            )

    async def load(self, served: Served) -> None:
        """Load a model, unless it is."""
        async with self._residence(served.model, served.variant.task).used():
            pass

    async def preload(self) -> None:
        """Load every model that needs no task to be named; raises as Embedder does, or Failure."""
        for model in self._models.values():
            spec = model.described.spec
            tasks = sorted(spec.tasks) if spec.tasks and spec.task is None else [None]
            for task in tasks:
                await self.load(Served(model=model, variant=names.resolve(spec, None, task, None)))

    def answer(self, served: Served, computed: Computed, request_id: str) -> Answer:
        """Put an answer together."""
        return Answer(card=self.card(served.model, served.variant.task), computed=computed, request_id=request_id)

    def card(self, model: Model, task: str | None = None) -> Card:
        """Tell of a model, as it is loaded now or as its folder says."""
        loaded = [home for home in model.residences.values() if home.engine is not None]
        home = model.residences.get(task) or (loaded[0] if loaded else None)
        known = model.described
        spec = home.spec if home and home.spec else known.spec
        ends = [end for one in loaded if (end := one.expires) is not None]
        return Card(
            name=model.name,
            spec=replace(spec, image=None) if self._settings.images == "off" else spec,
            level=home.level if home and home.level else known.level,
            bytes=known.bytes,
            created=known.created,
            loaded=bool(loaded),
            expires=time.time() + max(ends) - time.monotonic() if ends else None,
        )

    def cards(self) -> list[Card]:
        """Tell of all models."""
        return [self.card(model) for model in self._models.values()]

    def loaded(self) -> Iterator[tuple[Residence, Engine]]:
        """Give what is in memory, those too that are about to leave."""
        for residence in list(self._memory.present):
            if residence.engine is not None:
                yield residence, residence.engine

    async def aclose(self) -> None:
        """Unload all when their requests are done."""
        for residence, _ in self.loaded():
            await residence.leave()

    def _residence(self, model: Model, task: str | None) -> Residence:
        found = model.residences.get(task)
        if found is not None:
            return found

        settings = self._settings
        if settings.max_tokens is not None:  # some of the models may take fewer
            settings = replace(settings, max_tokens=model.described.spec.max_tokens)

        def load() -> Engine:
            return self._open(model.reference, task, settings, self._observe)

        def left(residence: Residence, abandoned: int) -> None:
            self.abandoned_before += abandoned
            if model.residences.get(task) is residence:
                del model.residences[task]

        made = Residence(f"{model.name}:{task}" if task else model.name, load, model.described.peak, self._memory, left)
        model.residences[task] = made
        return made


async def find_models(settings: Settings) -> list[Model]:
    """Find the models that are to be served and name them; raises InputError or ModelError."""
    found: dict[str, Model] = {}
    for argument in settings.models:
        reference, name = names.split_argument(argument)
        described = await asyncio.to_thread(describe, reference, settings)
        name = name or described.spec.name
        if name in found:
            raise InputError(f"two models are called {name}: give one another name, {reference}=NAME")
        found[name] = Model(name, reference, described)
    if not found:
        raise InputError("there is no model to serve: name one")
    return list(found.values())


def _check_dim(name: str, spec: ModelSpec, dim: int | None) -> None:
    """Raise Failure unless a model was trained to be cut there, before anything is loaded."""
    sizes = sorted({*spec.matryoshka_dims, spec.dim})
    if dim is not None and dim not in sizes:
        message = f"dimensions={dim}: {name} was trained for {sizes} only"
        raise Failure(status=400, reason="bad_request", message=message, field="dimensions")
