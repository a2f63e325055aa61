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

from edge_embed.architectures import outputs
from edge_embed.backends import Batch, ImageBackend, ImageRows, Rows, TextBackend, check_no_adapters
from edge_embed.errors import BackendError, CorruptModelError, UnsupportedModelError, listing
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

from .images import OnnxImageBackend
from .names import FLAGS, HIDDEN, IMAGE_POSITIONS, IMAGE_ROWS, ONE_ROW, POOLED, TEXT_INPUTS
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
        self._output = _choose_output([node.name for node in self._session.get_outputs()], path, spec)

    def forward(self, batch: Batch) -> list[Rows]:
        """Run the padded batch; a graph that pools inside gives one row for each input."""
        lengths = np.array([len(ids) for ids in batch.ids])
        width = int(lengths.max())
        at = np.arange(width)
        mask = at >= width - lengths[:, None] if self._left else at < lengths[:, None]
        ids = np.zeros(mask.shape, np.int64)
        ids[mask] = np.concatenate(batch.ids)
        known: dict[str, NDArray[np.int64]] = {
            "input_ids": ids,
            "attention_mask": mask.astype(np.int64),
            "token_type_ids": np.zeros_like(ids),
            "position_ids": np.clip(mask.cumsum(axis=1) - 1, 0, None),
        }
        feeds: dict[str, NDArray[Any]] = {
            name: known[name].astype(dtype, copy=False) for name, dtype in self._inputs.items()
        }
        if any(batch.image_rows):
            feeds |= self._image_feeds(batch.image_rows)
        with self._lock:
            if self._session is None:
                raise BackendError("this model was closed")
            try:
                (out,) = self._session.run([self._output], feeds, SHRINK if ids.size > SHRINK_ABOVE else None)
            except Exception as error:  # onnxruntime's exceptions share no base class
                raise failure(error, f"a batch of {ids.shape}") from error
        shape, count = getattr(out, "shape", ()), len(batch.ids)
        if len(shape) not in (2, 3) or len(out) != count or out.dtype.kind not in "fiu":
            raise CorruptModelError(
                f"{self._path}: the output {self._output!r} has the shape {shape} for {count} texts of {width} tokens; "
                "a row of numbers for each text or token is needed: get or convert the model again"
            )
        out = out.astype(np.float32, copy=False)
        if out.ndim == 2:
            return [row[None] for row in out]
        return [row[width - n :] if self._left else row[:n] for row, n in zip(out, lengths, strict=True)]

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


def _choose_output(names: list[str], path: Path, spec: ModelSpec) -> str:
    """Choose what a graph gives: the rows themselves, where a graph's own pooling would do other than the spec.

    sentence-transformers' exports give with Dense modules what comes after them, and know nothing of a prompt. Of an
    architecture that pools by itself, rows are of no use.
    """
    own = outputs(spec.architecture, "text")
    apart = spec.dense or not spec.include_prompt
    if apart and not any(name in names for name in HIDDEN):
        why = "Dense modules follow its pooling" if spec.dense else "include_prompt=false pools without the prompt"
        raise UnsupportedModelError(
            f"{path} pools inside, and {why}: export it with an output {HIDDEN[0]!r}, or convert the checkpoint"
        )
    # Ours also gives out its one row in the place of every token.
    wanted = (ONE_ROW, *own) if own else HIDDEN if apart else (ONE_ROW, *HIDDEN, *POOLED)
    for name in wanted:
        if name in names:
            return name
    if len(names) == 1 and not own:
        return names[0]
    raise UnsupportedModelError(f"{path}: none of the outputs {listing(names)} is one of {listing(wanted)}")


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
