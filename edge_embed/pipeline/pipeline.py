"""Inputs -> vectors: prompt -> tokens -> batches -> rows -> pooling -> truncate -> normalise -> quantise.

Works window by window. Knows no files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_embed import vectors
from edge_embed.backends import Backend, Batch, Rows
from edge_embed.errors import BackendError, InputError, MemoryWarning, OutOfMemoryError, warn
from edge_embed.images.preprocess import load_ahead
from edge_embed.images.tiles import most_tiles
from edge_embed.spec.image import Picture
from edge_embed.spec.model import ModelSpec

from .batches import plan
from .image_tokens import Read, read_picture
from .inputs import Items, sort_items
from .options import Options
from .pooling import pool
from .tokenizer import Ids, Tokenized, Tokenizes
from .windows import Report, Window, Work, windows

TILES = 8  # in a batch of the image tower; a picture is one, or as many as its pinpoints make of it
T = TypeVar("T")


@dataclass
class Pipeline:
    """A spec, a tokenizer and a backend that belong together; `vision` computes pictures, where the model takes any."""

    spec: ModelSpec
    tokenizer: Tokenizes
    backend: Backend
    vision: Backend | None = None
    threads: int = 2

    def run(
        self, inputs: Iterable[object], options: Options, done: Callable[[int], object] = lambda count: None
    ) -> Iterator[Window]:
        """Yield one window after another, in order; `done(n)` after each batch. Raises InputError, BackendError."""
        report = Report(self.spec.max_tokens)
        first = 0
        try:
            for window in windows(inputs):
                rows = np.zeros((len(window), self.spec.dim), np.float32)
                work = Work(self.sort(window, first, options), rows, options, first, report, done)
                self._embed_texts(work)
                self._embed_images(work)
                _check_finite(rows, first)
                yield Window(self.finish(rows, options), work.items.errors)
                first += len(window)
        except GeneratorExit:  # the caller has had enough; what was cut until here still counts
            report.warn()
            raise
        report.warn()

    def sort(self, window: Sequence[object], first: int, options: Options) -> Items:
        """Tell texts from pictures, and refuse what the model cannot take; with `keep_errors` for its place alone."""
        items = sort_items(
            window, first, self.spec, options.templates, pictures=options.pictures, keep_errors=options.keep_errors
        )
        if not items.images or (self.vision is not None and self.spec.image is not None):
            return items
        refused = {n: InputError(f"image {first + n}: {self.spec.name} {self._no_pictures()}") for n in items.images}
        if not options.keep_errors:
            raise next(iter(refused.values()))
        items.errors |= refused
        items.images.clear()
        return items

    def finish(self, rows: NDArray[np.float32], options: Options) -> NDArray[Any]:
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

    def _embed_texts(self, work: Work) -> None:
        """Run the backend on batches of like length and pool each text's rows to its place."""
        places = np.array([*work.items.texts], np.int64)
        tokens = self._tokenize(work, places)
        work.report.add(tokens.counts)
        for shared, rows in self._by_prefix(tokens.ids, work.options.templates.text):
            for batch in plan([len(tokens.ids[n]) for n in rows], work.options.batch_tokens):
                chosen = rows[batch]
                hidden = self._forward(Batch([tokens.ids[n] for n in chosen], shared=shared))
                work.rows[places[chosen]] = [pool(states, self.spec.pooling) for states in hidden]
                work.done(len(batch))

    def _tokenize(self, work: Work, places: NDArray[np.int64]) -> Tokenized:
        """Tokenise the texts; a message's index is the input's, whatever stands between the texts."""
        options, texts = work.options, [*work.items.texts.values()]
        if len(places) == 0 or places[-1] == len(places) - 1:
            return self.tokenizer.tokenize(texts, options.templates.text, options.truncation, work.first)
        parts = [
            self.tokenizer.tokenize([text], options.templates.text, options.truncation, work.first + int(place))
            for place, text in zip(places, texts, strict=True)
        ]
        return Tokenized([ids for part in parts for ids in part.ids], [c for part in parts for c in part.counts])

    def _by_prefix(self, ids: Sequence[Ids], template: str) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Part the texts of a causal model by whether they begin with the prompt's own ids, as nearly all do.

        A text may change them: its first letters may join the prompt's last token.
        """
        every = np.arange(len(ids))
        prefix = self.tokenizer.prefix(template) if len(ids) and self.spec.attention == "causal" else ()
        size = len(prefix)
        with_prefix = np.array([len(row) > size and bool((row[:size] == prefix).all()) for row in ids], bool)
        yield size, every[with_prefix]
        yield 0, every[~with_prefix]

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
            parts = [replace(batch, ids=batch.ids[half], inserted=batch.inserted[half]) for half in halves]
            return [rows for part in parts for rows in self.backend.forward(part)]

    def _embed_images(self, work: Work) -> None:
        """Load pictures ahead in threads, run the image tower on a few at a time, and put the rows in their places."""
        images = work.items.images
        if not images:
            return
        assert self.vision is not None
        assert self.spec.image is not None
        pictures = load_ahead(
            images.values(),
            self.spec.image,
            work.options.sources,
            threads=self.threads,
            errors="return" if work.options.keep_errors else "raise",
            indices=[work.first + place for place in images],
        )
        for group in _groups(zip(images, pictures, strict=True), max(1, TILES // most_tiles(self.spec.image))):
            good = {place: picture for place, picture in group if isinstance(picture, Picture)}
            work.items.errors |= {place: error for place, error in group if isinstance(error, InputError)}
            if good:
                hidden = self.vision.forward(Batch((), [*good.values()]))
                if self.spec.image_token is None:
                    work.rows[[*good]] = [rows[0] for rows in hidden]
                else:
                    self._embed_read(work, dict(zip(good, hidden, strict=True)))
            work.done(len(group))

    def _embed_read(self, work: Work, pictures: Mapping[int, Rows]) -> None:
        """Let the language model read each picture's rows within the prompt, with its text if it has one."""
        options, captions = work.options, work.items.captions
        inputs: dict[int, Read] = {}
        for place, rows in pictures.items():
            template = options.templates.composed if place in captions else options.templates.image
            try:
                inputs[place] = read_picture(
                    self.tokenizer,
                    self.spec,
                    template,
                    captions.get(place),
                    rows,
                    options.truncation,
                    work.first + place,
                )
            except InputError as error:
                work.refuse(place, error)
        work.report.add(one.count for place, one in inputs.items() if place in captions)
        places, reads = np.array([*inputs], np.int64), [*inputs.values()]
        for batch in plan([len(one.ids) for one in reads], options.batch_tokens):
            chosen = [reads[n] for n in batch]
            hidden = self._forward(Batch([one.ids for one in chosen], inserted=[one.inserted for one in chosen]))
            work.rows[places[batch]] = [pool(states, self.spec.pooling) for states in hidden]

    def _no_pictures(self) -> str:
        if self.spec.image is None:
            return "embeds texts, not pictures"
        return "takes pictures, but the files of its image part are not in the folder: fetch or convert them"


def _check_finite(rows: NDArray[np.float32], first: int) -> None:
    if not np.isfinite(rows).all():
        bad = first + int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise BackendError(f"input {bad}: the engine gave a vector that is not finite; try another level or backend")


def _groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while group := list(itertools.islice(rest, size)):
        yield group
