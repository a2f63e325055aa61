"""Which model an index belongs to: noted when it is made, checked when it is opened; how near unrelated texts are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError, SearchIndexError
from edge_embed.hub.reference import Reference
from edge_embed.vectors import normalize

from . import store
from .chunk import chunker_name
from .documents import Documents
from .meta import Meta, new_uuid, read_meta, write_meta
from .probes import SAME, TEXTS, agreement
from .schema import create_tables, guarded

DEVIATIONS = 2.0  # above the mean of unrelated pairs: `python -m benchmarks search.nothing`
# Each question is about something that none of the probes' texts speaks of.
QUESTIONS = (
    "How long should bread dough rise?",
    "Which vaccine protects against measles?",
    "What time does the night train to Vienna leave?",
    "How do I repot an orchid?",
    "Who won the chess championship in 1972?",
    "Why did the bank raise its interest rate?",
    "What is the boiling point of ethanol?",
    "How do whales sleep?",
)


class Wanted(NamedTuple):
    """What a new index is to be like; None is as the model has it, or, of an index that exists, as that has it."""

    dims: int | None
    chunk_tokens: int
    late_chunking: bool | None


def prepare(connection: sqlite3.Connection, exists: bool, path: str, model: Embedder | None, wanted: Wanted) -> Meta:
    """Return an index's meta: read and checked against the model, or written with the tables of a new one."""
    if not exists:
        assert model is not None
        made = describe(model, wanted, chunker_name())
        Documents(model, made)  # raises where the model has no room for such passages, or reads none together
        with guarded(path):
            connection.execute("PRAGMA journal_mode = WAL")
        with store.writing(connection, path):
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:  # nobody was quicker
                create_tables(connection)
                write_meta(connection, made)
    with guarded(path):
        meta = read_meta(connection, path)
    if model is not None:
        check(meta, model, path)
    if wanted.dims not in (None, meta.dims):
        raise InputError(
            f"{path} has vectors of {meta.dims} numbers, not {wanted.dims}: leave dims out, or make another index"
        )
    if wanted.late_chunking not in (None, bool(meta.late_chunking)):
        made_so = "with" if meta.late_chunking else "without"
        raise InputError(f"{path} was made {made_so} late chunking: leave late_chunking out, or make another index")
    return meta


def reopen(meta: Meta, path: str, make: Callable[..., Embedder] = Embedder) -> Embedder:
    """Open the model that an index was made with by `make`; raise as Embedder does, or SearchIndexError."""
    if not meta.model:
        raise InputError(f"{path} does not say how {meta.name} is opened: give the model")
    model = make(meta.model, task=meta.task or None)
    try:
        check(meta, model, path)
    except BaseException:
        model.close()
        raise
    return model


def describe(model: Embedder, wanted: Wanted, chunker: str) -> Meta:
    """Note a model for a new index; raise InputError for dimensions that it was not trained for."""
    kept = model.spec.pick_dim(model.dim if wanted.dims is None else wanted.dims)
    questions = model.encode_query(list(QUESTIONS), truncate_dim=kept, show_progress_bar=False)
    texts = _probes(model, kept)
    unrelated = normalize(questions) @ normalize(texts).T
    request = model._request
    return Meta(
        uuid=new_uuid(),
        model=spell(request.reference) if request is not None else "",
        task=(request.task or "") if request is not None else "",
        name=model.spec.name,
        fingerprint=model.spec.fingerprint or "",
        level=model.level,
        dims=kept,
        chunk_tokens=wanted.chunk_tokens,
        chunker=chunker,
        probes=texts.astype("<f2").tobytes(),
        reference=float(unrelated.mean() + DEVIATIONS * unrelated.std()),
        late_chunking=int(wanted.late_chunking or False),
    )


def check(meta: Meta, model: Embedder, path: str) -> None:
    """Raise SearchIndexError for a model of another vector space than the index's."""
    other = f"{path} was made with {meta.name}, whose vectors are not comparable with those of {model.spec.name}: "
    cure = f"open it with {meta.model or meta.name}, or make another index"
    if meta.fingerprint and model.spec.fingerprint:
        if meta.fingerprint != model.spec.fingerprint:
            raise SearchIndexError(f"{other}{cure}")
        return
    try:
        model.spec.pick_dim(meta.dims)
    except InputError as error:
        raise SearchIndexError(f"{other}{error}; {cure}") from error
    cosine = agreement(meta, _probes(model, meta.dims), path)
    if not cosine >= SAME:
        raise SearchIndexError(f"{other}the cosine of the same texts is {cosine:.2f}; {cure}")


def _probes(model: Embedder, dims: int) -> NDArray[np.float32]:
    texts: NDArray[np.float32] = model.encode_document(list(TEXTS), truncate_dim=dims, show_progress_bar=False)
    return texts


def spell(reference: Reference) -> str:
    """Write a reference so that it opens the same model from any folder."""
    place: Any = reference.path.absolute() if reference.path is not None else reference.place
    level = f":{reference.level}" if reference.level else ""
    revision = f"@{reference.revision}" if reference.revision else ""
    return f"{'hf://' if reference.on_hub else ''}{place}{level}{revision}"
