"""MLX: Apple GPUs, and the CPU elsewhere. Weights as Jina, mlx-lm and our own converter store them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from edge_embed.architectures import architecture
from edge_embed.backends import Backend, Batch, Rows
from edge_embed.errors import BackendError, CorruptModelError, InputError, listing
from edge_embed.spec.model import ModelSpec, Pooling
from edge_embed.spec.weights import Weights

from .adapters import Adapters
from .images import MlxImageBackend
from .owner import Held, trim
from .weights import load_model

# Tokens of a text that runs alone as a compiled graph. 8 tokens, 28 layers of 256: 27 ms, and 35 when MLX was told of
# every operation anew. Batches gained nothing, and would need a graph for each number of texts.
SHORT = 256
# Tokens of a prompt that are computed once: before texts of 4 to 15 tokens, 8 gained 1.5 to 1.8 times, 30 3 to 4.6.
SHARED = 8
PREFIXES = 8  # prompts of which they are kept; 30 tokens in v5-small's shape: 7 MB


class MlxBackend(Held):
    """One model in a thread of its own."""

    def __init__(self, open_model: Callable[[], Any], pooling: Pooling) -> None:
        self._pooling = pooling
        self._prefixes: dict[tuple[int, ...], list[Any]] = {}  # a prompt's ids -> each layer's keys and values
        super().__init__(open_model)

    def _open(self, open_model: Callable[[], Any]) -> None:
        """Load, and prepare to compile a graph for each width of a single short text."""
        super()._open(open_model)
        model = self._model

        def one(ids: mx.array, lengths: mx.array, more: dict[str, Any]) -> mx.array:
            return model(ids, lengths, True, self._pooling, **more)  # type: ignore[no-any-return]

        self._one: Any = mx.compile(one, inputs=model.state)

    def forward(self, batch: Batch) -> list[Rows]:
        """Pad on the right, run, and strip; a pooling of one row gives one row for each input."""
        return self._owner.run(lambda: self._forward(batch))

    def _forward(self, batch: Batch) -> list[Rows]:
        longest = max(len(ids) for ids in batch.ids)
        model = self._checked(batch, longest)
        try:
            return self._rows(model, batch)
        except (RuntimeError, ValueError) as error:
            what = f"{len(batch.ids)} texts of up to {longest} tokens"
            raise BackendError(f"MLX failed on {what}: {error}") from error
        finally:
            trim()

    def _rows(self, model: Any, batch: Batch) -> list[Rows]:
        """Compute what stands behind a prefix that is known, with pictures' rows among the tokens."""
        past = self._past(model, batch)
        more: dict[str, Any] = {"past": self._prefixes[past]} if past else {}
        if any(batch.inserted):
            more["inserted"] = [(n, one.at, mx.array(one.rows)) for n, one in enumerate(batch.inserted) if one]
        texts = [ids[len(past) :] for ids in batch.ids]
        lengths = np.array([len(ids) for ids in texts], np.int32)
        width = int(lengths.max())
        single = len(texts) == 1 and width <= SHORT and not any(batch.inserted)
        width = bucket(width, model.max_positions) if single else width
        real = np.arange(width) < lengths[:, None]
        ids = np.zeros(real.shape, np.int32)
        ids[real] = np.concatenate(texts)
        inputs = mx.array(ids), mx.array(lengths)
        states = self._one(*inputs, more) if single else model(*inputs, not real.all(), self._pooling, **more)
        out = np.array(states.astype(mx.float32))
        return [row[None] for row in out] if out.ndim == 2 else [row[:n] for row, n in zip(out, lengths, strict=True)]

    def _past(self, model: Any, batch: Batch) -> tuple[int, ...]:
        """Return the ids that all texts begin with and whose keys and values are there, computed now if need be."""
        useful = batch.shared >= SHARED and self._pooling == "last" and getattr(model, "causal", False)
        if not useful or any(batch.inserted):
            return ()
        ids = tuple(batch.ids[0][: batch.shared].tolist())
        if ids not in self._prefixes:
            if len(self._prefixes) == PREFIXES:
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
        self._one = None
        self._prefixes.clear()
        super()._drop()


def bucket(length: int, limit: int | None) -> int:
    """Round a length up to one of eight in each octave, so that few shapes occur, with at most an eighth of padding."""
    step = 1 << max(0, length.bit_length() - 4)
    width = -(-length // step) * step
    return width if limit is None else min(width, limit)


class MlxTasks(MlxBackend):
    """A base model with the adapters of several tasks, one of which counts."""

    def __init__(self, open_model: Callable[[], tuple[Any, Adapters]], pooling: Pooling, task: str) -> None:
        def open_base() -> Any:
            model, self._adapters = open_model()
            self._adapters.use(task)
            return model

        super().__init__(open_base, pooling)

    def use_task(self, task: str) -> None:
        """Embed with another task's adapter from now on; calls that are running finish first."""
        check_task(task, self._adapters.tasks())
        self._owner.run(lambda: self._use(task))

    def _use(self, task: str) -> None:
        self._adapters.use(task)
        self._prefixes.clear()


def check_task(task: str, tasks: Iterable[str]) -> None:
    """Raise InputError, listing what exists, for a task without an adapter."""
    if task not in tasks:
        raise InputError(f"unknown task {task!r}: there are adapters for {listing(tasks)}")


def load(folder: Path, spec: ModelSpec, weights: Weights, threads: int) -> Backend:
    """Load the safetensors files of a part's weights; MLX does not let the number of threads be chosen."""
    if weights.part == "image":
        return MlxImageBackend(lambda: _open(folder, spec, weights), spec.image)
    return MlxBackend(lambda: _open(folder, spec, weights), spec.pooling)


def load_base(
    folder: Path, spec: ModelSpec, weights: Weights, threads: int, adapters: Mapping[str, Path], task: str
) -> MlxTasks:
    """Load a base's weights and a folder of LoRA factors for each task; `use_task` changes which of them counts."""
    check_task(task, adapters)

    def open_base() -> tuple[Any, Adapters]:
        model = _open(folder, spec, weights)
        return model, Adapters(model, adapters, architecture(spec.architecture).PREFIXES)

    return MlxTasks(open_base, spec.pooling, task)


def _open(folder: Path, spec: ModelSpec, weights: Weights) -> Any:
    paths = [folder / file.path for file in weights.files if file.path.endswith(".safetensors")]
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return load_model(paths, config, spec.architecture, weights.part)
