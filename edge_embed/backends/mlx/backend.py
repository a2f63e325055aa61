"""MLX: Apple GPUs, and the CPU elsewhere. Weights as Jina, mlx-lm and our own converter store them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mlx.core as mx
import numpy as np

from edge_embed.architectures import _omni, architecture, with_attention
from edge_embed.backends import Batch, ImageBackend, Rows, TextBackend
from edge_embed.errors import BackendError, CorruptModelError, InputError, listing
from edge_embed.formats.json_file import read_object
from edge_embed.spec.model import ModelSpec, Pooling
from edge_embed.spec.weights import Weights

from .adapters import Adapters
from .images import MlxImageBackend
from .model_thread import ModelThread, free_buffers
from .weights import load_model

# Most tokens of a single text that runs as a compiled graph. 8 tokens, 28 layers of 256: 27 ms, and 35 when MLX was
# told of every operation anew. Batches gained nothing, and would need a graph for each number of texts.
COMPILED_TOKENS = 256
# Fewest tokens of a prompt that are computed once for all texts: before texts of 4 to 15 tokens, 8 gained 1.5 to 1.8
# times, 30 3 to 4.6.
MIN_PREFIX = 8
KEPT_PREFIXES = 8  # prompts whose keys and values are kept; 30 tokens in v5-small's shape: 7 MB


class MlxBackend(ModelThread):
    """A text part in a thread of its own."""

    def __init__(self, open_model: Callable[[], Any], pooling: Pooling) -> None:
        self._pooling = pooling
        self._prefixes: dict[tuple[int, ...], list[Any]] = {}  # a prompt's ids -> each layer's keys and values
        super().__init__(open_model)

    def _open(self, open_model: Callable[[], Any]) -> None:
        """Load, and prepare to compile a graph for each width of a single short text."""
        super()._open(open_model)
        model = self._model

        def run(ids: mx.array, lengths: mx.array, options: dict[str, Any]) -> mx.array:
            return model(ids, lengths, True, self._pooling, **options)  # type: ignore[no-any-return]

        self._compiled: Any = mx.compile(run, inputs=model.state)

    def forward(self, batch: Batch) -> list[Rows]:
        """Pad on the right, run, and strip; a pooling of one row gives one row for each text."""
        return self._thread.run(lambda: self._forward(batch))

    def _forward(self, batch: Batch) -> list[Rows]:
        longest = max(len(ids) for ids in batch.ids)
        model = self._checked(batch, longest)
        try:
            return self._rows(model, batch)
        except (RuntimeError, ValueError) as error:
            what = f"{len(batch.ids)} texts of up to {longest} tokens"
            raise BackendError(f"MLX failed on {what}: {error}") from error
        finally:
            free_buffers()

    def _rows(self, model: Any, batch: Batch) -> list[Rows]:
        """Compute what follows the cached prefix, with images' rows among the tokens."""
        prefix = self._prefix(model, batch)
        options: dict[str, Any] = {"past": self._prefixes[prefix]} if prefix else {}
        if any(batch.image_rows):
            options["image_rows"] = [(n, x.at, mx.array(x.rows)) for n, x in enumerate(batch.image_rows) if x]
        texts = [ids[len(prefix) :] for ids in batch.ids]
        lengths = np.array([len(ids) for ids in texts], np.int32)
        width = int(lengths.max())
        single = len(texts) == 1 and width <= COMPILED_TOKENS and not any(batch.image_rows)
        width = bucket(width, model.max_positions) if single else width
        real = np.arange(width) < lengths[:, None]
        ids = np.zeros(real.shape, np.int32)
        ids[real] = np.concatenate(texts)
        inputs = mx.array(ids), mx.array(lengths)
        states = (
            self._compiled(*inputs, options) if single else model(*inputs, not real.all(), self._pooling, **options)
        )
        out = np.array(states.astype(mx.float32))
        return [row[None] for row in out] if out.ndim == 2 else [row[:n] for row, n in zip(out, lengths, strict=True)]

    def _prefix(self, model: Any, batch: Batch) -> tuple[int, ...]:
        """Return the prompt's ids, their keys and values cached by now, if that pays; else none."""
        useful = batch.prefix_length >= MIN_PREFIX and self._pooling == "last" and model.causal
        if not useful or any(batch.image_rows):
            return ()
        ids = tuple(batch.ids[0][: batch.prefix_length].tolist())
        if ids not in self._prefixes:
            if len(self._prefixes) == KEPT_PREFIXES:
                self._prefixes.clear()
            self._prefixes[ids] = model.prefix(mx.array([ids]))
        return ids

    def _checked(self, batch: Batch, longest: int) -> Any:
        """Return the model; refuse what would read beyond a table, since MLX does not look."""
        model = self._loaded()
        limit, words = model.max_positions, model.vocab_size
        if limit is not None and longest > limit:
            raise BackendError(f"a text has {longest} tokens, the weights have positions for {limit}: set max_tokens")
        if (token := max(int(ids.max()) for ids in batch.ids)) >= words:
            raise CorruptModelError(
                f"tokenizer.json gives the id {token}, the weights have {words} words: they belong to different models"
            )
        return model

    def _drop(self) -> None:
        self._compiled = None
        self._prefixes.clear()
        super()._drop()


def bucket(length: int, limit: int | None) -> int:
    """Round a length up to one of eight in each octave, so that few shapes occur, with at most an eighth of padding."""
    step = 1 << max(0, length.bit_length() - 4)
    width = -(-length // step) * step
    return width if limit is None else min(width, limit)


class MlxTasksBackend(MlxBackend):
    """A base model with the adapters of several tasks, one of which is active."""

    def __init__(self, open_model: Callable[[], tuple[Any, Adapters]], pooling: Pooling, task: str) -> None:
        def open_base() -> Any:
            model, self._adapters = open_model()
            self._adapters.use(task)
            return model

        super().__init__(open_base, pooling)

    def use_task(self, task: str) -> None:
        """Embed with another task's adapter from now on; calls that are running finish first."""
        _known_task(task, self._adapters.tasks())
        self._thread.run(lambda: self._use(task))

    def _use(self, task: str) -> None:
        self._adapters.use(task)
        self._prefixes.clear()


def load(
    folder: Path,
    spec: ModelSpec,
    weights: Weights,
    threads: int,
    adapters: Mapping[str, Path] = MappingProxyType({}),
) -> TextBackend:
    """Load the safetensors files of the text part; MLX does not let the number of threads be chosen.

    `adapters`, a folder of LoRA factors for each task, belong to a base; the spec's task is the one that begins.
    """
    if not adapters:
        return MlxBackend(lambda: _open(folder, spec, weights), spec.pooled_rows)
    task = _known_task(spec.task, adapters)

    def open_base() -> tuple[Any, Adapters]:
        model = _open(folder, spec, weights)
        return model, Adapters(model, adapters, (*architecture(spec.architecture).PREFIXES, _omni.PREFIX))

    return MlxTasksBackend(open_base, spec.pooled_rows, task)


def load_images(folder: Path, spec: ModelSpec, weights: Weights, threads: int) -> ImageBackend:
    """Load the safetensors files of the image part."""
    return MlxImageBackend(lambda: _open(folder, spec, weights), spec.image)


def _known_task(task: str | None, tasks: Iterable[str]) -> str:
    """Return the task; raise InputError, listing what exists, for one without an adapter."""
    if task is None or task not in tasks:
        raise InputError(f"unknown task {task!r}: there are adapters for {listing(tasks)}")
    return task


def _open(folder: Path, spec: ModelSpec, weights: Weights) -> Any:
    paths = [folder / file.path for file in weights.files if file.path.endswith(".safetensors")]
    config = with_attention(read_object(folder / "config.json"), spec.attention)
    return load_model(paths, config, spec.architecture, weights.part)
