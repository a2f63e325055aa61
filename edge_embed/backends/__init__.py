"""The waist of the runtime: token ids in, rows of hidden states out. A backend's name is its folder's name.

A backend pads as it likes and strips what it padded: rows cross this line ragged, float32, real tokens only.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import MissingDependencyError
from edge_embed.spec.image import ImagePixels
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

from .facts import check, facts

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Inserted:
    """A picture's rows (n, dim), float32, which stand in the place of the embeddings of an input's ids[at : at + n]."""

    at: int
    rows: Rows


@dataclass(frozen=True)
class Batch:
    """Inputs that are computed together: token ids of each, int32 (tokens,), unpadded; or, for a tower, pictures.

    `inserted` is empty, or says for each input which picture's rows it reads among its tokens, if any. The first
    `shared` ids are the prompt's, the same in every batch with that prompt: their keys and values may be kept.
    """

    ids: Sequence[NDArray[np.int32]] = ()
    pictures: Sequence[ImagePixels] = ()
    inserted: Sequence[Inserted | None] = ()
    shared: int = 0


class Backend(Protocol):
    """An engine with one part of a model loaded, safe to call from several threads; `engine` names its release."""

    engine: str

    def forward(self, batch: Batch) -> list[Rows]:
        """Return for each input, in order, the rows (tokens, dim), float32, that the spec's pooling needs.

        All of them for `mean`, at least the first for `first`, at least the last for `last`. For a picture: one row,
        its vector, or where `spec.image_token` is set the rows that the language model reads.
        """

    def close(self) -> None:
        """Free the engine's memory."""


@runtime_checkable
class SwitchesTasks(Protocol):
    """A backend that holds a base's adapters and changes between them in place."""

    def use_task(self, task: str) -> None:
        """Compute with another task's adapter from now on."""


@runtime_checkable
class OwnVocabulary(Protocol):
    """A backend whose weights bring a vocabulary of their own."""

    def encode_text(self, text: str) -> list[int]:
        """Return a text's ids."""


def load(
    name: str,
    folder: Path,
    spec: ModelSpec,
    weights: Weights,
    threads: int,
    adapters: Mapping[str, Path] | None = None,
) -> Backend:
    """Load the weights with the backend of that name; `threads` CPU threads.

    `adapters`, a folder for each task, make it one that `Switches`, beginning with the spec's task.
    Raises MissingDependencyError when the backend's engine is not installed.
    """
    check(name)
    try:
        module = importlib.import_module(f".{name}.backend", __name__)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"backend {name!r} needs {error.name}, which is not installed: pip install '{facts(name).install}'"
        ) from error
    backend: Backend
    if adapters:
        backend = module.load_base(folder, spec, weights, threads, adapters, spec.task)
    else:
        backend = module.load(folder, spec, weights, threads)
    return backend
