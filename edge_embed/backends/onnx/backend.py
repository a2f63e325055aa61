"""ONNX Runtime on the CPU: our own graphs, and those that sentence-transformers, optimum or transformers.js exported.

Inputs and outputs are chosen by name. Pads on the spec's side, and strips what it padded.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends import Batch, ImageBackend, ImageRows, Rows, TextBackend, check_no_adapters
from edge_embed.errors import BackendError, UnsupportedModelError, listing
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

from .images import OnnxImageBackend
from .names import FLAGS, IMAGE_POSITIONS, IMAGE_ROWS, TEXT_INPUTS
from .outputs import choose_output
from .padding import pad
from .runtime import ort
from .session import SHRINK, failure, open_session

SHRINK_ABOVE = 4096  # tokens; what a larger batch took is given back to the system after it
DTYPES: dict[str, type[np.generic]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
# Of what is 0 or 1, which some exporters keep small.
FLAG_DTYPES = DTYPES | {
    **{"tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(bool)": np.bool_},
    **{"tensor(float)": np.float32, "tensor(float16)": np.float16},
}


class OnnxBackend:
    """One ONNX graph in one session."""

    engine = f"onnxruntime {ort.__version__}"

    def __init__(self, path: Path, spec: ModelSpec, threads: int) -> None:
        self._lock = threading.Lock()
        self._path = path
        self._left = spec.padding_side == "left"
        self._session: Any = open_session(path, threads)
        self._inputs = {node.name: _dtype(node, path) for node in self._session.get_inputs()}
        if fixed := [n.name for n in self._session.get_inputs() if any(isinstance(size, int) for size in n.shape)]:
            raise UnsupportedModelError(f"{path}: inputs {listing(fixed)} have a fixed size; export with dynamic axes")
        optional = {node.name for node in self._session.get_overridable_initializers()}
        self._takes_images = {IMAGE_ROWS, IMAGE_POSITIONS} <= optional
        self._output = choose_output([node.name for node in self._session.get_outputs()], path, spec)

    def forward(self, batch: Batch) -> list[Rows]:
        """Run the padded batch; a graph that pools inside gives one row for each input."""
        texts = pad(batch, self._left)
        feeds: dict[str, NDArray[Any]] = {
            name: texts.inputs[name].astype(dtype, copy=False) for name, dtype in self._inputs.items()
        }
        if any(batch.image_rows):
            feeds |= self._image_feeds(batch.image_rows)
        with self._lock:
            if self._session is None:
                raise BackendError("this model was closed")
            try:
                (out,) = self._session.run([self._output], feeds, SHRINK if texts.tokens > SHRINK_ABOVE else None)
            except Exception as error:  # onnxruntime's exceptions share no base class
                raise failure(error, f"a batch of {texts.shape}") from error
        return texts.rows(out, self._path, self._output)

    def _image_feeds(self, image_rows: Sequence[ImageRows | None]) -> dict[str, NDArray[Any]]:
        """Return the rows of all images, and where each goes in the batch; graphs that take any are padded right."""
        if not self._takes_images:
            raise UnsupportedModelError(
                f"{self._path}: this graph has no inputs {IMAGE_ROWS!r} and {IMAGE_POSITIONS!r}, so it cannot read an "
                "image among its tokens: convert the checkpoint again"
            )
        images = [(line, image) for line, image in enumerate(image_rows) if image is not None]
        rows = [image.rows for _, image in images]
        lines = [np.full(len(image.rows), line) for line, image in images]
        columns = [image.at + np.arange(len(image.rows)) for _, image in images]
        positions = np.stack([np.concatenate(lines), np.concatenate(columns)], axis=1)
        return {IMAGE_ROWS: np.concatenate(rows), IMAGE_POSITIONS: positions}

    def close(self) -> None:
        """Drop the session; calls that are running finish first."""
        with self._lock:
            self._session = None


def _dtype(node: Any, path: Path) -> type[np.generic]:
    """Return the type in which an input is fed; raise UnsupportedModelError for another input or type than is known."""
    if node.name not in TEXT_INPUTS:
        raise UnsupportedModelError(
            f"{path}: the graph's input {node.name!r} is not known; known are {listing(TEXT_INPUTS)}"
        )
    known = FLAG_DTYPES if node.name in FLAGS else DTYPES
    if node.type not in known:
        raise UnsupportedModelError(
            f"{path}: the graph takes {node.name!r} as {node.type}; it can be fed as {listing(known)}"
        )
    return known[node.type]


def load(
    folder: Path,
    spec: ModelSpec,
    weights: Weights,
    threads: int,
    adapters: Mapping[str, Path] = MappingProxyType({}),
) -> TextBackend:
    """Open the first file of the weights; data files beside it are found, and memory-mapped, by ONNX Runtime."""
    check_no_adapters(adapters, weights)
    return OnnxBackend(folder / weights.files[0].path, spec, threads)


def load_images(folder: Path, spec: ModelSpec, weights: Weights, threads: int) -> ImageBackend:
    """Open the first file of an image part's weights."""
    return OnnxImageBackend(folder / weights.files[0].path, spec, threads)
