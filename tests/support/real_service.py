"""The service with a real model and every API, in a thread of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from edge_embed.server.engine import Engine, Observe, open_engine
from edge_embed.server.gather import gather
from edge_embed.server.indexes import find_indexes
from edge_embed.server.models import find_models
from edge_embed.server.settings import Settings

from .service import Loader, running


class Opens(Loader):
    """Opens what is there, where others open fakes."""

    def __call__(self, reference: str, task: str | None, settings: Settings, observe: Observe) -> Engine:
        return open_engine(reference, task, settings, observe)


@contextmanager
def serving(model: str, tokenizer: Path, index: Path | None = None) -> Iterator[str]:
    """Serve `MODEL=NAME` and an index, and give the address; `tokenizer` is what fakes would have."""
    settings = Settings(models=[model], index=[str(index)] if index else [])
    with ThreadPoolExecutor() as elsewhere:  # a browser's driver has an event loop in this thread
        models = elsewhere.submit(lambda: asyncio.run(find_models(settings))).result()
    indexes = find_indexes(settings, models)
    with running(tokenizer, models, gather(indexes), Opens(tokenizer), indexes) as service:
        yield f"http://127.0.0.1:{service.port}"
