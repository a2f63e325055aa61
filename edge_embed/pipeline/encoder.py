"""The methods of Embedder that compute vectors, for a model that is loaded, wherever it came from."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_embed import vectors
from edge_embed.errors import InputError
from edge_embed.images.sources import ImageInput, ImageSources
from edge_embed.progress import progress
from edge_embed.spec.model import ModelSpec, Side
from edge_embed.vectors import Array, Metric, Precision

from .inputs import Input, as_list
from .one_or_many import one_image_or_many, one_text_or_many
from .options import ANY_SOURCE, Options, find_templates, make_options
from .pipeline import Pipeline
from .texts import check_texts
from .tokenizer import TokenCount, Truncation


class Loaded(Protocol):
    """What an Encoder computes with."""

    @property
    def pipeline(self) -> Pipeline:
        """The model, its tokenizer and its engines."""

    @property
    def batch_tokens(self) -> int:
        """How many tokens a batch may hold, padding included."""


class Encoder:
    """Turn texts and images into vectors; `truncate_dim` and image sources are the same in every call."""

    _opened: Loaded
    _sources: ImageSources = ANY_SOURCE
    _truncate_dim: int | None = None

    @property
    def spec(self) -> ModelSpec:
        """Everything known about the model.

        >>> model.spec.pooling
        'mean'
        """
        return self._opened.pipeline.spec

    @property
    def dim(self) -> int:
        """The number of dimensions that vectors have unless a call's `truncate_dim` says otherwise.

        >>> model.dim
        384
        """
        return self.spec.pick_dim(self._truncate_dim)

    @one_text_or_many
    def encode(
        self,
        inputs: Input | Sequence[Input],
        *,
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
        """Embed one text -> (dim,), or a list -> (n, dim); float32, and L2-normalised if the model was trained so.

        Texts may stand among images: {"text": ...} or {"image": ...}, where the model takes both; one dict with both
        keys asks for an image changed by a text, of models that read images among their tokens.
        `prompt_name` names one of the spec's prompts; `prompt` is a prefix, or a template with `{text}`; else `side`,
        "query" or "document", picks the prompt of the model's task. Packed precisions give (dim + 7) // 8 bytes.
        Texts beyond the model's length are cut as `truncation` says, with a TruncationWarning. The progress bar shows
        on a terminal, after a second. Raises InputError, before anything is computed, or BackendError.

        >>> model.encode("A cat sat on the mat.").shape
        (384,)
        >>> model.encode(["A cat sat on the mat.", "Tea is served."], precision="binary").shape
        (2, 48)
        """
        options = self._options(
            side, prompt_name, prompt, truncate_dim, precision, normalize_embeddings, truncation, batch_tokens
        )
        return self._encode(inputs, options, show_progress_bar)

    @one_text_or_many
    def encode_query(
        self,
        inputs: Input | Sequence[Input],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool | None = None,
        truncation: Truncation = "end",
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> Array:
        """Embed queries: `encode` with side="query".

        >>> model.encode_query("Who drinks tea?", prompt="Question: ").shape
        (384,)
        """
        options = self._options(
            "query", prompt_name, prompt, truncate_dim, precision, normalize_embeddings, truncation, batch_tokens
        )
        return self._encode(inputs, options, show_progress_bar)

    @one_text_or_many
    def encode_document(
        self,
        inputs: Input | Sequence[Input],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool | None = None,
        truncation: Truncation = "end",
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> Array:
        """Embed documents: `encode` with side="document".

        >>> model.encode_document(["Tea is served.", "The bus is late."]).shape
        (2, 384)
        """
        options = self._options(
            "document", prompt_name, prompt, truncate_dim, precision, normalize_embeddings, truncation, batch_tokens
        )
        return self._encode(inputs, options, show_progress_bar)

    @one_image_or_many
    def encode_image(
        self,
        images: ImageInput | Sequence[ImageInput],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool | None = None,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> Array:
        """Embed one image -> (dim,), or a list or tuple of them -> (n, dim), in the space of the texts.

        An image is a path, an http(s) URL, a data URI, bytes, a Pillow image, or a NumPy array (height, width[, 1, 3
        or 4]). A prompt is for models that read images among their tokens: `{image}` stands for the image. Raises
        InputError that names the image's index, and for a model without an image part.

        >>> clip.encode_image([np.zeros((32, 48, 3), np.uint8)] * 2).shape
        (2, 16)
        """
        if self.spec.image_token is None and not (prompt_name is None and prompt is None):
            given = prompt if prompt_name is None else prompt_name
            raise InputError(f"{self.spec.name} computes images without a prompt, got {given!r}")
        options = self._options(
            None, prompt_name, prompt, truncate_dim, precision, normalize_embeddings, "end", batch_tokens
        )
        return self._encode([{"image": image} for image in as_list(images)], options, show_progress_bar)

    def encode_iter(
        self,
        inputs: Iterable[Input],
        *,
        side: Side | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool | None = None,
        truncation: Truncation = "end",
        batch_tokens: int | None = None,
        errors: Literal["raise", "return"] = "raise",
        show_progress_bar: bool | None = False,
    ) -> Iterator[Any]:
        """Embed any iterable, yielding one vector an input in order; holds a few thousand texts at a time.

        Arguments are checked at once, inputs as they come. With `errors` "return" an input that cannot be embedded,
        such as a damaged image, gives its InputError in its place, and the others their vectors. A bar is shown where
        that is asked for; None is as in `encode`.

        >>> vectors = model.encode_iter(f"line {n}" for n in range(3))
        >>> [vector.shape for vector in vectors]
        [(384,), (384,), (384,)]
        """
        if errors not in ("raise", "return"):
            raise InputError(f"unknown errors={errors!r}: choose from 'raise', 'return'")
        if isinstance(inputs, str | bytes | Mapping):
            raise InputError(f"encode_iter takes an iterable of inputs, got one {type(inputs).__name__}: use encode")
        options = self._options(
            side, prompt_name, prompt, truncate_dim, precision, normalize_embeddings, truncation, batch_tokens
        )
        return self._iterate(inputs, replace(options, keep_errors=errors == "return"), show_progress_bar)

    @overload
    def count_tokens(  # type: ignore[overload-overlap]  # a str is a sequence of str too
        self, inputs: str, *, side: Side | None = ..., prompt_name: str | None = ..., prompt: str | None = ...
    ) -> TokenCount: ...

    @overload
    def count_tokens(
        self, inputs: Sequence[str], *, side: Side | None = ..., prompt_name: str | None = ..., prompt: str | None = ...
    ) -> list[TokenCount]: ...

    def count_tokens(
        self,
        inputs: str | Sequence[str],
        *,
        side: Side | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> TokenCount | list[TokenCount]:
        """Count each text's tokens, prompt and closing token included, and how many `encode` would cut.

        >>> model.count_tokens(["Tea is served.", "tea " * 300])
        [TokenCount(tokens=6, cut=0), TokenCount(tokens=302, cut=46)]
        """
        template = find_templates(self.spec, prompt_name, prompt, side).text
        texts = check_texts([inputs] if isinstance(inputs, str) else as_list(inputs))
        counts = self._opened.pipeline.tokenizer.tokenize(texts, template).counts
        return counts[0] if isinstance(inputs, str) else counts

    def similarity(self, a: ArrayLike, b: ArrayLike, metric: Metric | None = None) -> NDArray[np.float32]:
        """Compare vectors a (n, dim) with b (m, dim) -> (n, m); cosine unless named, see `vectors.similarity`.

        >>> query, documents = model.encode_query("a hot drink"), model.encode_document(["tea", "tax law"])
        >>> int(model.similarity(query, documents).argmax())
        0
        """
        return vectors.similarity(a, b, metric)

    def similarity_pairwise(self, a: ArrayLike, b: ArrayLike, metric: Metric | None = None) -> NDArray[np.float32]:
        """Compare each row of a (n, dim) with that of b (n, dim) -> (n,); see `vectors.similarity_pairwise`.

        >>> rows = model.encode(["tea", "tax law"])
        >>> model.similarity_pairwise(rows, rows).round(4).tolist()
        [1.0, 1.0]
        """
        return vectors.similarity_pairwise(a, b, metric)

    def _options(
        self,
        side: Side | None,
        prompt_name: str | None,
        prompt: str | None,
        truncate_dim: int | None,
        precision: Precision,
        normalize: bool | None,
        truncation: Truncation,
        batch_tokens: int | None,
    ) -> Options:
        """Check what a call asks for, before any input is looked at; None means as the model or its opening says."""
        return make_options(
            self.spec,
            side=side,
            prompt_name=prompt_name,
            prompt=prompt,
            truncate_dim=self._truncate_dim if truncate_dim is None else truncate_dim,
            precision=precision,
            normalize=normalize,
            truncation=truncation,
            batch_tokens=self._opened.batch_tokens if batch_tokens is None else batch_tokens,
            sources=self._sources,
        )

    def _iterate(self, inputs: Iterable[Input], options: Options, show_progress_bar: bool | None) -> Iterator[Any]:
        pipeline = self._opened.pipeline
        total = operator.length_hint(inputs, 0) or None
        with progress("embedding", total, "texts", show=show_progress_bar) as done:
            for rows, errors in pipeline.run(pipeline.parse(inputs, options), options, done):
                yield from (errors.get(n, row) for n, row in enumerate(rows))

    def _encode(self, inputs: object, options: Options, show_progress_bar: bool | None) -> Array:
        items, pipeline = as_list(inputs), self._opened.pipeline
        windows = [*pipeline.parse(items, options)]  # all are checked before any is computed
        empty = pipeline.finish(np.empty((0, self.spec.dim), np.float32), options)
        out = np.empty((len(items), empty.shape[1]), empty.dtype)
        start = 0
        show = show_progress_bar if len(items) > 1 else False
        with progress("embedding", len(items), "texts", show=show) as done:
            for rows, _ in pipeline.run(windows, options, done):
                out[start : start + len(rows)] = rows
                start += len(rows)
        return out
