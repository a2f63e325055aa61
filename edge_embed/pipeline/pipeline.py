"""Inputs -> vectors: prompt -> tokens -> batches -> rows -> pooling -> truncate -> normalise -> quantise.

Works window by window. Knows no files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_embed import vectors
from edge_embed.backends import ImageBackend, Rows, TextBackend
from edge_embed.errors import BackendError, InputError
from edge_embed.images.tiles import TILES_AT_ONCE, most_tiles
from edge_embed.spec.image import ImagePixels
from edge_embed.spec.model import ModelSpec

from .head import Head, Layer
from .inputs import Inputs, parse_inputs
from .options import Options
from .reading import load_images, read_images, read_texts
from .steps import Step, text_steps
from .tokenizer import Tokenizer
from .windows import WINDOW, TruncationReport, Window, WindowState, split_windows

T = TypeVar("T")
OMNI = "jina-embeddings-v5-omni"  # whose names tell why their images are not taken


@dataclass
class Pipeline:
    """A spec, a tokenizer and a backend that belong together; `vision` computes images, where the model takes any.

    `layers` are the spec's Dense modules.
    """

    spec: ModelSpec
    tokenizer: Tokenizer
    backend: TextBackend
    vision: ImageBackend | None = None
    threads: int = 2
    layers: Sequence[Layer] = ()

    @property
    def head(self) -> Head:
        """What makes a vector of a text's rows."""
        return Head(self.spec.pooling, self.layers)

    def parse(self, inputs: Iterable[object], options: Options, most_images: int = WINDOW) -> Iterator[Inputs]:
        """Yield the inputs window by window, checked, as `run` takes them; nothing is computed.

        No window has more than `most_images` images. Raises InputError for what the model cannot take; with
        `keep_errors` keeps it for its position.
        """
        first, no_images = 0, self._no_images()
        for window in split_windows(inputs, most_images):
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
        if self.spec.image is None and OMNI in f"{self.spec.source} {self.spec.name}":
            return (
                "embeds texts, as jina-embeddings-v5-text does: of jina-embeddings-v5-omni the towers for pictures and "
                "sound are not implemented. For images take jina-clip-v1, CLIP or SigLIP"
            )
        if self.spec.image is None:
            return "embeds texts, not images"
        if self.vision is None:
            return "takes images, but the files of its image part are not in the folder: fetch or convert them"
        return None

    def text_steps(self, inputs: Inputs, options: Options, report: TruncationReport, skip: int = 0) -> Iterator[Step]:
        """Yield the rows of a window's texts batch by batch; the first `skip` batches are left out."""
        read = read_texts(self.spec, self.tokenizer, inputs, options)
        report.add(read.counts.values())
        return text_steps(read.rows, self.backend, self.head, options.batch_tokens, skip)

    def _embed_texts(self, state: WindowState) -> None:
        """Run the backend on batches of like length and pool each text's rows to its position."""
        before = len(state.inputs.errors)
        for step in self.text_steps(state.inputs, state.options, state.report):
            state.rows[step.positions] = step.rows
            state.done(len(step.positions))
        state.done(len(state.inputs.errors) - before)

    def _embed_images(self, state: WindowState) -> None:
        """Load images ahead in threads, run the image tower on a few at a time, and put the rows in their places."""
        images = state.inputs.images
        if not images:
            return
        assert self.vision is not None
        assert self.spec.image is not None
        loaded = load_images(self.spec.image, state.inputs, state.options, self.threads)
        for chunk in _chunks(loaded, max(1, TILES_AT_ONCE // most_tiles(self.spec.image))):
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
        read = read_images(self.spec, self.tokenizer, state.inputs, state.options, images)
        state.report.add(count for position, count in read.counts.items() if position in state.inputs.captions)
        for step in text_steps(read.rows, self.backend, self.head, state.options.batch_tokens):
            state.rows[step.positions] = step.rows


def _check_finite(rows: NDArray[np.float32], first: int) -> None:
    if not np.isfinite(rows).all():
        bad = first + int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise BackendError(f"input {bad}: the engine gave a vector that is not finite; try another level or backend")


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(itertools.islice(rest, size)):
        yield chunk
