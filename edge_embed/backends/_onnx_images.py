"""An image tower in ONNX Runtime: ours, or one that others exported; inputs and outputs by name."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from ..errors import BackendError, InputError, UnsupportedModelError, listing
from . import Batch, Rows
from ._onnx_session import failure, open_session

PIXELS = "pixel_values"  # (batch, 3, height, width)
EMBEDDINGS = ("image_embeds", "image_embeddings")  # (batch, dim)


class OnnxImageBackend:
    """One image tower in one session; one row for each picture."""

    engine = f"onnxruntime {ort.__version__}"

    def __init__(self, path: Path, threads: int) -> None:
        self._lock = threading.Lock()
        self._session: Any = open_session(path, threads)
        inputs = {node.name: node for node in self._session.get_inputs()}
        if inputs.keys() != {PIXELS}:
            raise UnsupportedModelError(f"{path}: graph inputs are {listing(inputs)}; an image tower has {PIXELS!r}")
        self._dtype = np.float16 if inputs[PIXELS].type == "tensor(float16)" else np.float32
        self._size = tuple(size for size in inputs[PIXELS].shape[2:] if isinstance(size, int))
        outputs = {node.name: node for node in self._session.get_outputs()}
        flat = [name for name, node in outputs.items() if len(node.shape) == 2]
        named = [name for name in EMBEDDINGS if name in outputs]
        if not named and not flat:
            raise UnsupportedModelError(f"{path}: none of the outputs {listing(outputs)} is one vector for a picture")
        self._output = (named or flat)[0]

    def forward(self, batch: Batch) -> list[Rows]:
        """Compute the pictures in one call -> (1, dim) each; raise InputError for pixels of another size."""
        pixels = np.concatenate([picture.pixels for picture in batch.pictures])
        if self._size and pixels.shape[2:] != self._size:
            raise InputError(f"pictures come as {pixels.shape[2:]} pixels, the graph takes {self._size}")
        with self._lock:
            if self._session is None:
                raise BackendError("this model was closed")
            try:
                (out,) = self._session.run([self._output], {PIXELS: pixels.astype(self._dtype, copy=False)})
            except Exception as error:  # onnxruntime's exceptions share no base class
                raise failure(error, f"pictures of {pixels.shape}") from error
        return [row[None] for row in out.astype(np.float32, copy=False)]

    def close(self) -> None:
        """Drop the session; calls that are running finish first."""
        with self._lock:
            self._session = None
