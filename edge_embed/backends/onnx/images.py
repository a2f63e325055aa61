"""The image part in ONNX Runtime: ours, or a tower that others exported; inputs and outputs by name."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.architectures import outputs
from edge_embed.backends import Rows
from edge_embed.errors import BackendError, InputError, UnsupportedModelError, listing
from edge_embed.images.tiles import TILES_AT_ONCE, pack_images
from edge_embed.spec.image import ImagePixels
from edge_embed.spec.model import ModelSpec

from .names import EMBEDDINGS, FEATURES, NEWLINE, PIXELS
from .runtime import ort
from .session import SHRINK, failure, open_session


class OnnxImageBackend:
    """One image tower in one session; for each image one row, or the rows that a language model reads."""

    engine = f"onnxruntime {ort.__version__}"

    def __init__(self, path: Path, spec: ModelSpec, threads: int) -> None:
        self._lock = threading.Lock()
        self._session: Any = open_session(path, threads)
        inputs = {node.name: node for node in self._session.get_inputs()}
        if inputs.keys() != {PIXELS}:
            raise UnsupportedModelError(f"{path}: graph inputs are {listing(inputs)}; an image tower has {PIXELS!r}")
        self._dtype = np.float16 if inputs[PIXELS].type == "tensor(float16)" else np.float32
        self._size = tuple(size for size in inputs[PIXELS].shape[2:] if isinstance(size, int))
        ranks = {node.name: len(node.shape) for node in self._session.get_outputs()}
        self._image = spec.image if {FEATURES, NEWLINE} <= ranks.keys() else None
        self._outputs = [FEATURES, NEWLINE] if self._image else [_choose_output(ranks, path, spec)]

    def forward(self, images: Sequence[ImagePixels]) -> list[Rows]:
        """Compute the images, a few tiles a call; raise InputError for pixels of another size."""
        pixels = np.concatenate([image.pixels for image in images])
        if self._size and pixels.shape[2:] != self._size:
            raise InputError(f"images come as {pixels.shape[2:]} pixels, the graph takes {self._size}")
        parts = [self._run(pixels[at : at + TILES_AT_ONCE]) for at in range(0, len(pixels), TILES_AT_ONCE)]
        rows = np.concatenate([part[0] for part in parts]).astype(np.float32, copy=False)
        if self._image is None:
            return [row[None] for row in rows]
        return pack_images(rows, parts[0][1].astype(np.float32, copy=False), images, self._image)

    def _run(self, pixels: NDArray[np.float32]) -> list[NDArray[Any]]:
        with self._lock:
            if self._session is None:
                raise BackendError("this model was closed")
            try:
                found: list[NDArray[Any]] = self._session.run(
                    self._outputs, {PIXELS: pixels.astype(self._dtype, copy=False)}, SHRINK if self._image else None
                )
            except Exception as error:  # onnxruntime's exceptions share no base class
                raise failure(error, f"images of {pixels.shape}") from error
        return found

    def close(self) -> None:
        """Drop the session; calls that are running finish first."""
        with self._lock:
            self._session = None


def _choose_output(ranks: dict[str, int], path: Path, spec: ModelSpec) -> str:
    own = outputs(spec.architecture, "image")
    flat = [name for name, rank in ranks.items() if rank == 2 and not own]
    named = [name for name in own or EMBEDDINGS if name in ranks]
    if not named and not flat:
        raise UnsupportedModelError(f"{path}: none of the outputs {listing(ranks)} is one vector for an image")
    return (named or flat)[0]
