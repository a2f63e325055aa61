"""Inputs -> vectors: prompt -> tokens -> batches -> rows -> pooling -> truncate -> normalise -> quantise.

Works window by window, so memory is bounded whatever comes in. Knows no files.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import vectors
from .backends import Backend, Batch
from .batches import plan
from .errors import BackendError, InputError, MemoryWarning, OutOfMemoryError, TruncationWarning
from .image_sources import ImageSources
from .image_spec import Picture
from .image_tiles import most_tiles
from .images import load_ahead
from .items import Items, Templates, sort_items
from .joint import Read, read_picture
from .pooling import pool
from .spec import ModelSpec
from .tokens import Ids, Tokenized, Tokenizes, Truncation
from .vectors import Precision

WINDOW = 4096  # texts that are tokenised and sorted together: bounds memory, and long enough to batch like lengths
WINDOW_CHARACTERS = 1 << 23
TILES = 8  # in a batch of the image tower; a picture is one, or as many as its pinpoints make of it
EVERYWHERE = ImageSources()
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What one call of encode asks for, checked. `pictures`: every input is one."""

    templates: Templates
    dim: int
    precision: Precision
    normalize: bool
    truncation: Truncation
    batch_tokens: int
    pictures: bool = False
    sources: ImageSources = EVERYWHERE
    keep_errors: bool = False


class Window(NamedTuple):
    """Finished vectors (inputs, dim) in order; where an input failed, its error by its place, and no vector."""

    vectors: NDArray[Any]
    errors: Mapping[int, InputError]


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
        report = _Report(self.spec.max_tokens)
        first = 0
        try:
            for window in _windows(inputs):
                items = self.sort(window, first, options)
                rows = np.zeros((len(window), self.spec.dim), np.float32)
                self._embed_texts(items, rows, options, first, report, done)
                self._embed_images(items, rows, options, first, report, done)
                _check_finite(rows, first)
                yield Window(self.finish(rows, options), items.errors)
                first += len(window)
        except GeneratorExit:  # the caller has had enough; what was cut until here still counts
            report.warn()
            raise
        report.warn()

    def sort(self, window: Sequence[object], first: int, options: Options) -> Items:
        """Tell texts from pictures, and refuse what the model cannot take; with `keep_errors` for its place alone."""
        kept = options.keep_errors
        items = sort_items(
            window, first, self.spec, options.templates, pictures=options.pictures, keep_errors=options.keep_errors
        )
        if not items.images or (self.vision is not None and self.spec.image is not None):
            return items
        refused = {n: InputError(f"image {first + n}: {self.spec.name} {self._no_pictures()}") for n in items.images}
        if not kept:
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

    def _embed_texts(
        self,
        items: Items,
        out: NDArray[np.float32],
        options: Options,
        first: int,
        report: _Report,
        done: Callable[[int], object],
    ) -> None:
        """Run the backend on batches of like length and pool each text's rows to its place."""
        places = np.array([*items.texts], np.int64)
        tokens = self._tokenize(items, places, options, first)
        report.add(tokens)
        for shared, rows in self._by_prefix(tokens.ids, options.templates.text):
            for batch in plan([len(tokens.ids[n]) for n in rows], options.batch_tokens):
                chosen = rows[batch]
                hidden = self._forward(Batch([tokens.ids[n] for n in chosen], shared=shared))
                out[places[chosen]] = [pool(states, self.spec.pooling) for states in hidden]
                done(len(batch))

    def _by_prefix(self, ids: Sequence[Ids], template: str) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Part the texts of a causal model by whether they begin with the prompt's own ids, as nearly all do.

        A text may change them: one that begins with a line break joins the prompt's last.
        """
        every = np.arange(len(ids))
        prefix = self.tokenizer.prefix(template) if len(ids) and self.spec.attention == "causal" else None
        if prefix is None or len(prefix) == 0:
            yield 0, every
            return
        size = len(prefix)
        with_prefix = np.array([len(row) > size and bool((row[:size] == prefix).all()) for row in ids])
        yield size, every[with_prefix]
        yield 0, every[~with_prefix]

    def _forward(self, batch: Batch) -> list[NDArray[np.float32]]:
        """Run a batch; one for which there is no memory is halved, once."""
        try:
            return self.backend.forward(batch)
        except OutOfMemoryError as error:
            if len(batch.ids) == 1:
                raise
            warnings.warn(f"{error}: the batch of {len(batch.ids)} texts is halved", MemoryWarning, stacklevel=2)
            middle = len(batch.ids) // 2
            halves = (slice(middle), slice(middle, None))
            parts = [replace(batch, ids=batch.ids[half], inserted=batch.inserted[half]) for half in halves]
            return [rows for part in parts for rows in self.backend.forward(part)]

    def _tokenize(self, items: Items, places: NDArray[np.int64], options: Options, first: int) -> Tokenized:
        """Tokenise the texts; a message's index is the input's, whatever stands between the texts."""
        texts = [*items.texts.values()]
        if len(places) == 0 or places[-1] == len(places) - 1:
            return self.tokenizer.tokenize(texts, options.templates.text, options.truncation, first)
        parts = [
            self.tokenizer.tokenize([text], options.templates.text, options.truncation, first + int(place))
            for place, text in zip(places, texts, strict=True)
        ]
        return Tokenized([ids for part in parts for ids in part.ids], [c for part in parts for c in part.counts])

    def _embed_images(
        self,
        items: Items,
        out: NDArray[np.float32],
        options: Options,
        first: int,
        report: _Report,
        done: Callable[[int], object],
    ) -> None:
        """Load pictures ahead in threads, run the image tower on a few at a time, and put the rows in their places."""
        if not items.images:
            return
        assert self.vision is not None
        assert self.spec.image is not None
        pictures = load_ahead(
            items.images.values(),
            self.spec.image,
            options.sources,
            threads=self.threads,
            errors="return" if options.keep_errors else "raise",
            indices=[first + place for place in items.images],
        )
        for group in _groups(zip(items.images, pictures, strict=True), max(1, TILES // most_tiles(self.spec.image))):
            good = [(place, picture) for place, picture in group if isinstance(picture, Picture)]
            items.errors |= {place: error for place, error in group if isinstance(error, InputError)}
            if good:
                places = [place for place, _ in good]
                hidden = self.vision.forward(Batch((), [picture for _, picture in good]))
                if self.spec.image_token is None:
                    out[places] = [rows[0] for rows in hidden]
                else:
                    self._embed_read(dict(zip(places, hidden, strict=True)), items, out, options, first, report)
            done(len(group))

    def _embed_read(
        self,
        pictures: Mapping[int, NDArray[np.float32]],
        items: Items,
        out: NDArray[np.float32],
        options: Options,
        first: int,
        report: _Report,
    ) -> None:
        """Let the language model read each picture's rows within the prompt, with its text if it has one."""
        inputs: dict[int, Read] = {}
        for place, rows in pictures.items():
            caption = items.captions.get(place)
            template = options.templates.image if caption is None else options.templates.composed
            try:
                inputs[place] = read_picture(
                    self.tokenizer, self.spec, template, caption, rows, options.truncation, first + place
                )
            except InputError as error:
                if not options.keep_errors:
                    raise
                items.errors[place] = error
        report.add(Tokenized([], [one.count for place, one in inputs.items() if place in items.captions]))
        places = np.array([*inputs], np.int64)
        for batch in plan([len(one.ids) for one in inputs.values()], options.batch_tokens):
            chosen = [inputs[place] for place in places[batch]]
            hidden = self._forward(Batch([one.ids for one in chosen], inserted=[one.inserted for one in chosen]))
            out[places[batch]] = [pool(states, self.spec.pooling) for states in hidden]

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


@dataclass
class _Report:
    """How many texts were cut, for one warning at the end."""

    max_tokens: int
    texts: int = 0
    cut: int = 0
    longest: int = field(default=0)

    def add(self, tokens: Tokenized) -> None:
        self.texts += len(tokens.counts)
        self.cut += sum(count.cut > 0 for count in tokens.counts)
        self.longest = max([self.longest, *(count.tokens for count in tokens.counts)])

    def warn(self) -> None:
        if self.cut:
            message = (
                f"{self.cut} of {self.texts} texts were cut to {self.max_tokens} tokens; the longest has {self.longest}"
            )
            warnings.warn(message, TruncationWarning, stacklevel=_callers_level())


def _callers_level() -> int:
    """Count the frames up to the first that is not ours, as warnings.warn counts them for whoever calls this."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("edge_embed."):
        level, frame = level + 1, frame.f_back
    return level


def _windows(inputs: Iterable[object]) -> Iterator[list[object]]:
    """Group inputs by number and by characters, at least one in each group."""
    items = iter(inputs)
    for item in items:
        window, characters = [item], _size(item)
        while len(window) < WINDOW and characters < WINDOW_CHARACTERS:
            more = list(itertools.islice(items, 1))
            if not more:
                break
            window += more
            characters += _size(more[0])
        yield window


def _size(item: object) -> int:
    return len(item) if isinstance(item, str) else 0
