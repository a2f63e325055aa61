"""The engines: token ids or pixels in, rows of hidden states out. A backend's name is its folder's name.

A backend pads as it likes and strips what it padded: rows cross this line ragged, float32, real tokens only.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import MissingDependencyError, UnsupportedModelError, listing
from edge_embed.spec.image import ImagePixels
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

from .facts import check, facts

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class ImageRows:
    """An image's rows (n, dim), float32, which are read instead of the embeddings of a text's ids[at : at + n]."""

    at: int
    rows: Rows


@dataclass(frozen=True)
class Batch:
    """Texts that are computed together: token ids of each, int32 (tokens,), unpadded.

    `image_rows` is empty, or says for each text which image's rows it reads among its tokens, if any. The first
    `prefix_length` ids are the prompt's, the same in every batch with that prompt: their keys and values may be kept.
    `indices` are those of the user's inputs, for messages; empty where the texts are no user's.
    """

    ids: Sequence[NDArray[np.int32]]
    image_rows: Sequence[ImageRows | None] = ()
    prefix_length: int = 0
    indices: Sequence[int] = ()

    def index(self, row: int) -> int:
        """Return which of the user's inputs a row of the batch is."""
        return self.indices[row] if self.indices else row


class Backend(Protocol):
    """An engine with one part of a model loaded, safe to call from several threads; `engine` names its release."""

    engine: str

    def close(self) -> None:
        """Free the engine's memory; calls that are running finish first."""


class TextBackend(Backend, Protocol):
    """A backend with the text part of a model."""

    def forward(self, batch: Batch) -> list[Rows]:
        """Return for each text, in order, the rows (tokens, dim), float32, that the spec's pooling needs.

        At least those of `spec.pooled_rows`: all for `mean`, the first for `first`, the last for `last`.
        """


class ImageBackend(Backend, Protocol):
    """A backend with the image part of a model."""

    def forward(self, images: Sequence[ImagePixels]) -> list[Rows]:
        """Return for each image, in order, rows (n, dim), float32.

        One row, its vector; where the spec has an `image_token`, the rows that the language model reads.
        """


@runtime_checkable
class SwitchesTasks(Protocol):
    """A backend that holds a base's adapters and changes between them in place."""

    def use_task(self, task: str) -> None:
        """Compute with another task's adapter from now on."""


@runtime_checkable
class ComputesDense(Protocol):
    """A backend whose weights may hold the Dense modules: `computes_dense` says that its rows went through them."""

    computes_dense: bool


@runtime_checkable
class OwnVocabulary(Protocol):
    """A backend whose weights bring a vocabulary of their own."""

    def encode_text(self, text: str, *, special: bool = True, add: bool = True) -> list[int]:
        """Return a text's ids.

        `special`: what spells a special token becomes one; `add`: with those that belong around a text.
        """

    def special_tokens(self, text: str) -> set[str]:
        """Return the special tokens that a text spells."""


def load(
    name: str,
    folder: Path,
    spec: ModelSpec,
    weights: Weights,
    threads: int,
    adapters: Mapping[str, Path] = MappingProxyType({}),
) -> TextBackend:
    """Load a model's text part with the backend of that name; `threads` CPU threads.

    `adapters`, a folder for each task, make it one that SwitchesTasks, beginning with the spec's task.
    Raises MissingDependencyError when the backend's engine is not installed.
    """
    backend: TextBackend = _module(name).load(folder, spec, weights, threads, adapters)
    return backend


def load_images(name: str, folder: Path, spec: ModelSpec, weights: Weights, threads: int) -> ImageBackend:
    """Load a model's image part with the backend of that name; raises as `load` does."""
    backend: ImageBackend = _module(name).load_images(folder, spec, weights, threads)
    return backend


def check_no_adapters(adapters: Mapping[str, Path], weights: Weights) -> None:
    """Raise UnsupportedModelError if there are adapters, for a backend that cannot switch them."""
    if adapters:
        raise UnsupportedModelError(
            f"{weights.name} cannot switch between the adapters of {listing(adapters)}: convert one of them, merged"
        )


def _module(name: str) -> Any:
    """Import a backend's code, and with it its engine."""
    check(name)
    try:
        return importlib.import_module(f".{name}.backend", __name__)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"backend {name!r} needs {error.name}, which is not installed: {facts(name).install}"
        ) from error
