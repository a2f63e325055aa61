"""MLX: Apple GPUs, and the CPU elsewhere. Weights as Jina, mlx-lm and our own converter store them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import mlx.core as mx
import numpy as np

from ..errors import BackendError, CorruptModelError
from ..spec import ModelSpec, Pooling, Weights
from . import Batch, Rows
from ._mlx_weights import load_model

CACHE = 256 << 20  # bytes of freed buffers that MLX may keep for the next batch; by itself it never gives one back
T = TypeVar("T")


class MlxBackend:
    """One model, and the one thread that touches it: MLX's streams belong to threads."""

    def __init__(self, open_model: Callable[[], Any], pooling: Pooling) -> None:
        self._pooling = pooling
        self._owner = ThreadPoolExecutor(1, "mlx")
        try:
            self._model = self._owner.submit(open_model).result()
        except BaseException:
            self._owner.shutdown()
            raise

    def forward(self, batch: Batch) -> list[Rows]:
        """Pad on the right, run, and strip; a pooling of one row gives one row for each input."""
        return self._call(lambda: self._forward(batch))

    def close(self) -> None:
        """Drop the model; calls that are running finish first."""
        if self._model is not None:
            self._call(self._drop)
            self._owner.shutdown()

    def _call(self, work: Callable[[], T]) -> T:
        try:
            future = self._owner.submit(work)
        except RuntimeError as error:
            raise BackendError("this model was closed") from error
        return future.result()

    def _drop(self) -> None:
        self._model = None
        mx.clear_cache()

    def _forward(self, batch: Batch) -> list[Rows]:
        lengths = np.array([len(ids) for ids in batch.ids], np.int32)
        self._check(batch, int(lengths.max()))
        width = bucket(int(lengths.max()), self._model.max_positions)
        real = np.arange(width) < lengths[:, None]
        ids = np.zeros(real.shape, np.int32)
        ids[real] = np.concatenate(batch.ids)
        try:
            states = self._model(mx.array(ids), mx.array(lengths), not real.all(), self._pooling)
            out = np.array(states.astype(mx.float32))
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"MLX failed on a batch of {ids.shape}: {error}") from error
        if mx.get_cache_memory() > CACHE:
            mx.clear_cache()
        return [row[None] for row in out] if out.ndim == 2 else [row[:n] for row, n in zip(out, lengths, strict=True)]

    def _check(self, batch: Batch, longest: int) -> None:
        """Refuse what would read beyond a table: MLX does not look."""
        if self._model is None:
            raise BackendError("this model was closed")
        limit, words = self._model.max_positions, self._model.vocab_size
        if limit is not None and longest > limit:
            raise BackendError(f"a text has {longest} tokens, the weights have positions for {limit}: set max_tokens")
        if (token := max(int(ids.max()) for ids in batch.ids)) >= words:
            raise CorruptModelError(
                f"tokenizer.json gives the id {token}, the weights have {words} words: they belong to different models"
            )


def bucket(length: int, limit: int | None) -> int:
    """Round a length up to one of eight in each octave, so that few shapes occur, with at most an eighth of padding."""
    step = max(1, 1 << (length.bit_length() - 4))
    width = -(-length // step) * step
    return width if limit is None else min(width, limit)


def load(folder: Path, spec: ModelSpec, weights: Weights, threads: int) -> MlxBackend:
    """Load the safetensors files of the weights; MLX does not let the number of threads be chosen."""
    paths = [folder / file.path for file in weights.files if file.path.endswith(".safetensors")]
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return MlxBackend(lambda: load_model(paths, config, spec.architecture), spec.pooling)
