"""Embedder: the one class that users meet. It finds, opens and checks; `pipeline.py` does the embedding."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import vectors
from .backends import Backend
from .errors import InputError
from .images.sources import ImageSources
from .loading.load import LoadedModel, load_model, switch_task
from .loading.request import LoadRequest, load_request
from .pipeline.options import EVERYWHERE, Options, Templates
from .pipeline.pipeline import Pipeline
from .pipeline.tokenizer import TokenCount, Tokenizer, Truncation, check_texts, check_truncation
from .selection.choose import BATCH_TOKENS
from .selection.speed import Workload
from .spec.model import ModelSpec, Side
from .vectors import Metric, Precision


class Embedder:
    """A loaded model that turns texts into vectors.

    `model` is `PLACE[:LEVEL][@REVISION]`: a local folder, .onnx or .gguf file, `user/repo`, or `package:NAME/FOLDER`;
    LEVEL is one of ONNX (float32 to int4), GGUF (F32 to IQ1_S) or MLX (float32 to 4bit). `backend` is auto, onnx, gguf
    or mlx. `task` picks one of a base's adapters, and with a suffix (`retrieval.query`,
    `retrieval.passage`) the prompt that `encode` uses. `max_tokens` shortens the model's own limit; `max_memory`
    (bytes, or "1GB") bounds the process's memory by smaller batches; `workload` says what the weights are to be fast
    for, `bulk` or `single` texts, where no level is named; `offline` forbids the network; `image_sources` says where
    pictures may come from. Raises InputError or ModelError.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        backend: str = "auto",
        task: str | None = None,
        revision: str | None = None,
        max_tokens: int | None = None,
        max_memory: int | str | None = None,
        workload: Workload = "bulk",
        threads: int | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        offline: bool | None = None,
        image_sources: ImageSources | None = None,
        spec: Mapping[str, object] | None = None,
    ) -> None:
        self._sources = image_sources or EVERYWHERE
        self._request: LoadRequest | None = load_request(
            model,
            backend=backend,
            task=task,
            revision=revision,
            max_tokens=max_tokens,
            max_memory=max_memory,
            workload=workload,
            threads=threads,
            cache_dir=cache_dir,
            offline=offline,
            spec=spec,
        )
        self._opened = load_model(self._request)

    @classmethod
    def from_parts(
        cls, spec: ModelSpec, tokenizer: Tokenizer, backend: Backend, vision: Backend | None = None
    ) -> Embedder:
        """Build an Embedder around a backend that is loaded already, such as `backends.fake`, and one for pictures."""
        self = cls.__new__(cls)
        self._request, self._sources = None, EVERYWHERE
        self._opened = LoadedModel(
            spec=spec,
            pipeline=Pipeline(spec, tokenizer, backend, vision),
            batch_tokens=BATCH_TOKENS,
            why=f"{type(backend).__name__}, given by the caller",
        )
        return self

    @property
    def spec(self) -> ModelSpec:
        """Everything known about the model."""
        return self._opened.pipeline.spec

    def encode(
        self,
        inputs: str | Mapping[str, object] | Sequence[str | Mapping[str, object]],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool = True,
        truncation: Truncation = "end",
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> NDArray[Any]:
        """Embed one text -> (dim,), or a list -> (n, dim); float32 and L2-normalised unless asked otherwise.

        Texts may stand among pictures: {"text": ...} or {"image": ...}, where the model takes both; one dict with both
        keys asks for a picture changed by a text, of models that read pictures among their tokens.
        `prompt_name` names one of the spec's prompts; `prompt` is a prefix, or a template with `{text}`. Packed
        precisions give (dim + 7) // 8 bytes. Texts beyond the model's length are cut as `truncation` says, with a
        TruncationWarning. The progress bar shows on a terminal, after a second.
        """
        templates = self._templates(prompt_name, prompt)
        options = self._check(templates, truncate_dim, precision, normalize_embeddings, truncation, batch_tokens)
        return self._encode(inputs, options, show_progress_bar)

    def encode_query(
        self,
        inputs: str | Mapping[str, object] | Sequence[str | Mapping[str, object]],
        *,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool = True,
        truncation: Truncation = "end",
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> NDArray[Any]:
        """Embed queries: `encode` with the prompt that the model's task uses on the query side."""
        templates = self._templates(None, None, "query")
        options = self._check(templates, truncate_dim, precision, normalize_embeddings, truncation, batch_tokens)
        return self._encode(inputs, options, show_progress_bar)

    def encode_document(
        self,
        inputs: str | Mapping[str, object] | Sequence[str | Mapping[str, object]],
        *,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool = True,
        truncation: Truncation = "end",
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> NDArray[Any]:
        """Embed documents: `encode` with the prompt that the model's task uses on the document side."""
        templates = self._templates(None, None, "document")
        options = self._check(templates, truncate_dim, precision, normalize_embeddings, truncation, batch_tokens)
        return self._encode(inputs, options, show_progress_bar)

    def encode_image(
        self,
        images: object,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool = True,
        show_progress_bar: bool | None = None,
    ) -> NDArray[Any]:
        """Embed one picture -> (dim,), or a list or tuple of them -> (n, dim), in the space of the texts.

        A picture is a path, an http(s) URL, a data URI, bytes, a Pillow image, or a NumPy array (height, width[, 1, 3
        or 4]). A prompt is for models that read pictures among their tokens: `{image}` stands for the picture. Raises
        InputError that names the picture's index, and for a model without an image part.
        """
        if self.spec.image_token is None and (prompt_name or prompt) is not None:
            raise InputError(f"{self.spec.name} computes pictures without a prompt, got {prompt_name or prompt!r}")
        templates = self._templates(prompt_name, prompt)
        checked = self._check(templates, truncate_dim, precision, normalize_embeddings, "end", None)
        options = replace(checked, pictures=True)
        items = [*images] if isinstance(images, list | tuple) else [images]
        self._opened.pipeline.sort(items, 0, options)  # before any work
        rows = self._run(items, options, show_progress_bar)
        if isinstance(images, list | tuple):
            return rows
        vector: NDArray[Any] = rows[0]
        return vector

    def encode_iter(
        self,
        inputs: Iterable[str | Mapping[str, object]],
        *,
        side: Side | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool = True,
        truncation: Truncation = "end",
        batch_tokens: int | None = None,
        errors: Literal["raise", "return"] = "raise",
    ) -> Iterator[Any]:
        """Embed any iterable, yielding one vector an input in order; holds a few thousand texts at a time.

        Arguments are checked at once, inputs as they come. With `errors` "return" an input that cannot be embedded,
        such as a damaged picture, gives its InputError in its place, and the others their vectors.
        """
        if errors not in ("raise", "return"):
            raise InputError(f"unknown errors={errors!r}: choose from 'raise', 'return'")
        if isinstance(inputs, str):
            raise InputError("encode_iter takes an iterable of texts, got one str: use encode")
        templates = self._templates(prompt_name, prompt, side)
        options = self._check(templates, truncate_dim, precision, normalize_embeddings, truncation, batch_tokens)
        options = replace(options, keep_errors=errors == "return")
        windows = self._opened.pipeline.run(inputs, options)
        return (window.errors.get(n, row) for window in windows for n, row in enumerate(window.vectors))

    def use_task(self, task: str) -> None:
        """Embed for another of the base's tasks from now on, as Embedder(base, task=...) would.

        MLX keeps every adapter loaded and changes which one counts; the other backends load the task's merged weights.
        Not while another thread is embedding. Raises InputError for an unknown task.
        """
        if self._request is None:
            raise InputError(f"task={task!r}: this Embedder was made from parts and cannot load others")
        self._opened = switch_task(self._opened, self._request, task)
        self._request = replace(self._request, task=task)

    def similarity(self, a: ArrayLike, b: ArrayLike, metric: Metric | None = None) -> NDArray[np.float32]:
        """Compare vectors a (n, dim) with b (m, dim) -> (n, m); cosine unless named, see `vectors.similarity`."""
        return vectors.similarity(a, b, metric)

    def count_tokens(
        self, inputs: Sequence[str], *, prompt_name: str | None = None, prompt: str | None = None
    ) -> list[TokenCount]:
        """Count each text's tokens, prompt and closing token included, and how many `encode` would cut."""
        template = self.spec.template(prompt_name, prompt)
        return self._opened.pipeline.tokenizer.tokenize(check_texts(_as_list(inputs)), template).counts

    def explain(self) -> str:
        """Say in a few lines what was loaded and why."""
        spec = self.spec
        return (
            f"{spec.name}: {spec.architecture}, {spec.dim} dimensions, "
            f"{spec.max_tokens} tokens, {spec.pooling} pooling{f', task {spec.task}' if spec.task else ''}\n"
            f"weights: {self._opened.why}\nbatches of up to {self._opened.batch_tokens} tokens, padding included"
        )

    def close(self) -> None:
        """Free the engine's memory; the Embedder cannot be used after."""
        self._opened.pipeline.close()

    def __enter__(self) -> Embedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Embedder {self.spec.name} {self._opened.why}>"

    def _templates(self, prompt_name: str | None, prompt: str | None, side: Side | None = None) -> Templates:
        """Return the template for each kind of input; one that was asked for is that of all."""
        spec = self.spec
        text = spec.template(prompt_name, prompt, side)
        if spec.image_token is None:
            return Templates(text)
        image, composed = (spec.template(prompt_name, prompt, side, kind) for kind in ("image", "composed"))
        return Templates(text, image, composed)

    def _check(
        self,
        templates: Templates,
        truncate_dim: int | None,
        precision: Precision,
        normalize: bool,
        truncation: Truncation,
        batch_tokens: int | None,
    ) -> Options:
        """Refuse what cannot be, before any text is looked at."""
        vectors.check_precision(precision)
        check_truncation(truncation)
        if batch_tokens is not None and batch_tokens < 1:
            raise InputError(f"batch_tokens={batch_tokens} must be at least 1")
        return Options(
            templates=templates,
            dim=self.spec.pick_dim(truncate_dim),
            precision=precision,
            normalize=normalize,
            truncation=truncation,
            batch_tokens=batch_tokens or self._opened.batch_tokens,
            sources=self._sources,
        )

    def _encode(self, inputs: object, options: Options, show_progress_bar: bool | None) -> NDArray[Any]:
        one = isinstance(inputs, str | Mapping)
        items = [inputs] if one else _as_list(inputs)
        self._opened.pipeline.sort(items, 0, options)  # before any work
        rows = self._run(items, options, show_progress_bar)
        return rows[0] if one else rows

    def _run(self, items: Sequence[object], options: Options, show_progress_bar: bool | None) -> NDArray[Any]:
        empty = self._opened.pipeline.finish(np.empty((0, self.spec.dim), np.float32), options)
        out = np.empty((len(items), empty.shape[1]), empty.dtype)
        start = 0
        with _progress_bar(len(items), show_progress_bar) as done:
            for rows, _ in self._opened.pipeline.run(items, options, done):
                out[start : start + len(rows)] = rows
                start += len(rows)
        return out


def _as_list(inputs: object) -> list[object]:
    """Take a list, tuple, array or other sequence of texts; refuse what would be read in another way than was meant."""
    if isinstance(inputs, bytes | bytearray | set) or not (hasattr(inputs, "__len__") and hasattr(inputs, "__iter__")):
        raise InputError(
            f"inputs is {type(inputs).__name__}, expected a str or a list of str; use encode_iter for an iterator"
        )
    return list(inputs)


@contextmanager
def _progress_bar(total: int, show: bool | None) -> Iterator[Callable[[int], object]]:
    """Yield what to call with the number of texts done; `show` None means: on a terminal, after a second."""
    if show is False or total < 2:
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="text", delay=1 if show is None else 0, disable=None if show is None else False) as bar:
        yield bar.update
