"""Inputs -> vectors: prompt -> tokens -> batches -> rows -> pooling -> truncate -> normalise -> quantise.

Works window by window. Knows no files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_embed import vectors
from edge_embed.backends import Batch, ImageBackend, Rows, TextBackend
from edge_embed.errors import BackendError, InputError, MemoryWarning, OutOfMemoryError, warn
from edge_embed.images.preprocess import load_ahead
from edge_embed.images.tiles import TILES_AT_ONCE, most_tiles
from edge_embed.spec.image import ImagePixels
from edge_embed.spec.model import ModelSpec

from .batches import make_batches
from .image_tokens import ImagePrompt, expand_image_token
from .inputs import Inputs, parse_inputs
from .options import Options
from .pooling import pool
from .tokenizer import Ids, Tokenized, Tokenizer
from .windows import TruncationReport, Window, WindowState, split_windows

T = TypeVar("T")


@dataclass
class Pipeline:
    """A spec, a tokenizer and a backend that belong together; `vision` computes images, where the model takes any."""

    spec: ModelSpec
    tokenizer: Tokenizer
    backend: TextBackend
    vision: ImageBackend | None = None
    threads: int = 2

    def parse(self, inputs: Iterable[object], options: Options) -> Iterator[Inputs]:
        """Yield the inputs window by window, checked, as `run` takes them; nothing is computed.

        Raises InputError for what the model cannot take; with `keep_errors` keeps it for its position.
        """
        first, no_images = 0, self._no_images()
        for window in split_windows(inputs):
            yield parse_inputs(window, first, self.spec, options, no_images)
            first += len(window)

    def run(
        self, windows: Iterable[Inputs], options: Options, done: Callable[[int], object] = lambda count: None
    ) -> Iterator[Window]:
        """Yield the vectors of each window, in order; `done(n)` after each batch. Raises InputError, BackendError."""
        report = TruncationReport(self.spec.max_tokens)
        try:
            for inputs in windows:
                rows = np.zeros((inputs.count, self.spec.dim), np.float32)
                state = WindowState(inputs, rows, options, report, done)
                self._embed_texts(state)
                self._embed_images(state)
                _check_finite(rows, inputs.first)
                yield Window(self.finish(rows, options), inputs.errors)
        except GeneratorExit:  # the caller stopped early; what was cut until here still counts
            report.warn()
            raise
        report.warn()

    def finish(self, rows: NDArray[np.float32], options: Options) -> vectors.Array:
        """Truncate, then normalise, then quantise rows (n, dim), each by itself."""
        rows = rows[:, : options.dim]
        if options.normalize:
            rows = vectors.normalize(rows)
        return vectors.quantize(rows, options.precision)

    def close(self) -> None:
        """Free the engines' memory."""
        self.backend.close()
        if self.vision is not None:
            self.vision.close()

    def _no_images(self) -> str | None:
        """Say why the model takes no images, if that is so."""
        if self.spec.image is None:
            return "embeds texts, not images"
        if self.vision is None:
            return "takes images, but the files of its image part are not in the folder: fetch or convert them"
        return None

    def _embed_texts(self, state: WindowState) -> None:
        """Run the backend on batches of like length and pool each text's rows to its position."""
        positions = np.array([*state.inputs.texts], np.int64)
        tokens = self._tokenize(state, positions)
        state.report.add(tokens.counts)
        for prefix_length, rows in self._split_by_prefix(tokens.ids, state.options.templates.text):
            for batch in make_batches([len(tokens.ids[n]) for n in rows], state.options.batch_tokens):
                chosen = rows[batch]
                indices = state.indices(positions[chosen])
                hidden = self._forward(Batch([tokens.ids[n] for n in chosen], (), prefix_length, indices))
                state.rows[positions[chosen]] = [pool(row, self.spec.pooling) for row in hidden]
                state.done(len(batch))

    def _tokenize(self, state: WindowState, positions: NDArray[np.int64]) -> Tokenized:
        """Tokenise the texts; a message's index is the input's, whatever stands between the texts."""
        options, first, texts = state.options, state.inputs.first, [*state.inputs.texts.values()]
        if len(positions) == 0 or positions[-1] == len(positions) - 1:
            return self.tokenizer.tokenize(texts, options.templates.text, options.truncation, first)
        parts = [
            self.tokenizer.tokenize([text], options.templates.text, options.truncation, first + int(position))
            for position, text in zip(positions, texts, strict=True)
        ]
        return Tokenized([ids for part in parts for ids in part.ids], [c for part in parts for c in part.counts])

    def _split_by_prefix(self, ids: Sequence[Ids], template: str) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Part the texts of a causal model by whether they begin with the prompt's own ids, as nearly all do.

        A text may change them: its first letters may join the prompt's last token.
        """
        positions = np.arange(len(ids))
        prefix = self.tokenizer.prefix(template) if len(ids) and self.spec.attention == "causal" else ()
        size = len(prefix)
        with_prefix = np.array([len(row) > size and bool((row[:size] == prefix).all()) for row in ids], bool)
        yield size, positions[with_prefix]
        yield 0, positions[~with_prefix]

    def _forward(self, batch: Batch) -> list[Rows]:
        """Run a batch; one for which there is no memory is halved, once."""
        try:
            return self.backend.forward(batch)
        except OutOfMemoryError as error:
            if len(batch.ids) == 1:
                raise
            warn(f"{error}: the batch of {len(batch.ids)} texts is halved", MemoryWarning)
            middle = len(batch.ids) // 2
            halves = (slice(middle), slice(middle, None))
            parts = [
                replace(batch, ids=batch.ids[half], image_rows=batch.image_rows[half], indices=batch.indices[half])
                for half in halves
            ]
            return [rows for part in parts for rows in self.backend.forward(part)]

    def _embed_images(self, state: WindowState) -> None:
        """Load images ahead in threads, run the image tower on a few at a time, and put the rows in their places."""
        images = state.inputs.images
        if not images:
            return
        assert self.vision is not None
        assert self.spec.image is not None
        loaded = load_ahead(
            images.values(),
            self.spec.image,
            state.options.sources,
            threads=self.threads,
            errors="return" if state.options.keep_errors else "raise",
            indices=[state.inputs.first + position for position in images],
        )
        for chunk in _chunks(zip(images, loaded, strict=True), max(1, TILES_AT_ONCE // most_tiles(self.spec.image))):
            good = {position: image for position, image in chunk if isinstance(image, ImagePixels)}
            state.inputs.errors |= {position: error for position, error in chunk if isinstance(error, InputError)}
            if good:
                hidden = self.vision.forward([*good.values()])
                if self.spec.image_token is None:
                    state.rows[[*good]] = [rows[0] for rows in hidden]
                else:
                    self._embed_image_prompts(state, dict(zip(good, hidden, strict=True)))
            state.done(len(chunk))

    def _embed_image_prompts(self, state: WindowState, images: Mapping[int, Rows]) -> None:
        """Let the language model read each image's rows within the prompt, with its text if it has one."""
        options, captions = state.options, state.inputs.captions
        prompts: dict[int, ImagePrompt] = {}
        for position, rows in images.items():
            template = options.templates.composed if position in captions else options.templates.image
            caption, index = captions.get(position), state.inputs.first + position
            try:
                prompts[position] = expand_image_token(
                    self.tokenizer, self.spec, template, caption, rows, options.truncation, index
                )
            except InputError as error:
                state.refuse(position, error)
        state.report.add(prompt.count for position, prompt in prompts.items() if position in captions)
        positions, ready = np.array([*prompts], np.int64), [*prompts.values()]
        for batch in make_batches([len(prompt.ids) for prompt in ready], options.batch_tokens):
            chosen = [ready[n] for n in batch]
            indices = state.indices(positions[batch])
            hidden = self._forward(Batch([one.ids for one in chosen], [one.image_rows for one in chosen], 0, indices))
            state.rows[positions[batch]] = [pool(row, self.spec.pooling) for row in hidden]


def _check_finite(rows: NDArray[np.float32], first: int) -> None:
    if not np.isfinite(rows).all():
        bad = first + int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise BackendError(f"input {bad}: the engine gave a vector that is not finite; try another level or backend")


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(itertools.islice(rest, size)):
        yield chunk
