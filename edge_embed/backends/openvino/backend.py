"""OpenVINO on the CPU: ONNX graphs in standard operators, ours or other people's.

Image parts run in ONNX Runtime, which the base install has.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from edge_embed.backends import Batch, ImageBackend, Rows, TextBackend, check_no_adapters
from edge_embed.backends import load_images as load_image_part
from edge_embed.backends.fork import settle
from edge_embed.backends.onnx.padding import PaddedTexts, pad
from edge_embed.errors import BackendError, CorruptModelError, InputError, OutOfMemoryError, UnsupportedModelError
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

from .session import VERSION, Session, open_session

RELEASE_ABOVE = 4096  # tokens; what a larger batch took is given back to the system after it
NO_MEMORY = ("bad_alloc", "bad allocation", "allocate")


class OpenVinoBackend:
    """One graph, compiled for the CPU, and one request that computes batch after batch."""

    engine = f"openvino {VERSION}"

    def __init__(self, path: Path, spec: ModelSpec, threads: int) -> None:
        self._home = settle("OpenVINO", threads)
        self._lock = threading.Lock()
        self._path, self._left = path, spec.padding_side == "left"
        self._longest = spec.max_tokens
        self._session: Session | None = open_session(path, spec, threads)

    def forward(self, batch: Batch) -> list[Rows]:
        """Run the padded batch; a graph that pools inside gives one row for each input."""
        self._home.check()
        if any(batch.image_rows):
            raise UnsupportedModelError(
                f'{self._path}: OpenVINO reads no images among the tokens here: use backend="onnx"'
            )
        for index, ids in enumerate(batch.ids):  # beyond a table's end OpenVINO reads on, or refuses, as it happens
            if len(ids) > self._longest:
                raise InputError(
                    f"input {batch.index(index)} has {len(ids)} tokens; the model takes 1 to {self._longest}"
                )
        texts = pad(batch, self._left)
        with self._lock:
            if self._session is None:
                raise BackendError("this model was closed")
            return self._run(self._session, texts)

    def _run(self, session: Session, texts: PaddedTexts) -> list[Rows]:
        if session.words is not None and (token := int(texts.inputs["input_ids"].max())) >= session.words:
            raise CorruptModelError(
                f"tokenizer.json gives the id {token}, the weights have {session.words} words: they belong to "
                "different models"
            )
        feeds = {name: texts.inputs[name].astype(dtype, copy=False) for name, dtype in session.inputs.items()}
        try:
            session.request.infer(feeds, share_inputs=True)
            out = session.request.get_output_tensor(0).data
            # A copy: the next batch is computed into the same memory.
            return [np.array(rows) for rows in texts.rows(out, self._path, session.output)]
        except RuntimeError as error:  # OpenVINO's own derive from it
            kind = OutOfMemoryError if any(words in str(error) for words in NO_MEMORY) else BackendError
            raise kind(f"OpenVINO failed on a batch of {texts.shape}: {' '.join(str(error).split())[:600]}") from error
        finally:
            if texts.tokens > RELEASE_ABOVE:
                session.model.release_memory()

    def close(self) -> None:
        """Drop the compiled model; calls that are running finish first."""
        if self._home.left:
            return
        with self._lock:
            self._session = None


def load(
    folder: Path,
    spec: ModelSpec,
    weights: Weights,
    threads: int,
    adapters: Mapping[str, Path] = MappingProxyType({}),
) -> TextBackend:
    """Compile the first file of the weights, a graph in standard operators; raise UnsupportedModelError for another."""
    check_no_adapters(adapters, weights)
    return OpenVinoBackend(folder / weights.files[0].path, spec, threads)


def load_images(folder: Path, spec: ModelSpec, weights: Weights, threads: int) -> ImageBackend:
    """Open the image part in ONNX Runtime."""
    return load_image_part("onnx", folder, spec, weights, threads)
