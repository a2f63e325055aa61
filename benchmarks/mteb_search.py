"""A search over bits and int8 codes as mteb sees a search, so that what it loses is scored on mteb's own tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.mteb_model import EmbedderModel, Side, Vectors
from edge_embed.vectors import columns, quantize, search_binary, similarity


class SearchModel:
    """What mteb calls a search: documents as bits and int8, candidates by the bits, ordered by int8 codes.

    That is what `vectors.search_binary` does, with `oversample` candidates for each hit.
    """

    def __init__(self, model: EmbedderModel, *, oversample: int = 4) -> None:
        self._model, self._oversample = model, oversample
        self._ids: list[str] = []
        self._codes: NDArray[np.int8] = np.zeros((0, 0), np.int8)

    @property
    def mteb_model_meta(self) -> Any:
        """The model's, with what the search keeps of a vector in its name."""
        meta = self._model.mteb_model_meta
        return meta.model_copy(update={"name": f"{meta.name}-bits-int8"})

    def index(self, corpus: Any, *, task_metadata: Any, encode_kwargs: Any, **kwargs: Any) -> None:
        """Embed the documents, and keep bits and codes."""
        found = self._encoded(corpus, "document", task_metadata)
        self._ids, self._codes = list(corpus["id"]), quantize(found, "int8")
        self._bits = columns(quantize(found, "ubinary"))

    def search(
        self,
        queries: Any,
        *,
        task_metadata: Any,
        top_k: int,
        encode_kwargs: Any,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> dict[str, dict[str, float]]:
        """Return the scores of the nearest `top_k` documents for each query, or of those in `top_ranked`."""
        names, found = list(queries["id"]), self._encoded(queries, "query", task_metadata)
        if top_ranked is not None:
            return {name: self._ranked(row, top_ranked.get(name, ())) for name, row in zip(names, found, strict=True)}
        scores, rows = search_binary(found, self._bits, k=top_k, oversample=self._oversample, documents=self._codes)
        hits = zip(names, scores.tolist(), rows.tolist(), strict=True)
        return {name: {self._ids[n]: x for x, n in zip(some, near, strict=True)} for name, some, near in hits}

    def _ranked(self, query: Vectors, wanted: Sequence[str]) -> dict[str, float]:
        places = {id: n for n, id in enumerate(self._ids)}
        codes = self._codes[[places[id] for id in wanted]].astype(np.float32)
        return dict(zip(wanted, similarity(query[None], codes)[0].tolist(), strict=True)) if wanted else {}

    def _encoded(self, rows: Any, side: Side, task_metadata: Any) -> Vectors:
        from mteb._create_dataloaders import create_dataloader
        from mteb.types import PromptType

        loader = create_dataloader(rows, task_metadata=task_metadata, prompt_type=PromptType(side), batch_size=256)
        return self._model.encode(loader, task_metadata=task_metadata, prompt_type=side)
