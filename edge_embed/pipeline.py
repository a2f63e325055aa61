"""Texts -> vectors, top to bottom: prompt -> tokens -> batches -> rows -> pooling -> truncate -> normalise -> quantise.

Works window by window, so memory is bounded whatever comes in. Knows no files.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import vectors
from .backends import Backend, Batch
from .batches import plan
from .errors import BackendError, TruncationWarning
from .pooling import pool
from .spec import ModelSpec
from .tokens import Tokenized, Tokenizes, Truncation, check_texts
from .vectors import Precision

WINDOW = 4096  # texts that are tokenised and sorted together: bounds memory, and long enough to batch like lengths
WINDOW_CHARACTERS = 1 << 23


@dataclass(frozen=True, kw_only=True)
class Options:
    """What one call of encode asks for, checked."""

    template: str
    dim: int
    precision: Precision
    normalize: bool
    truncation: Truncation
    batch_tokens: int


@dataclass
class Pipeline:
    """A spec, a tokenizer and a backend that belong together."""

    spec: ModelSpec
    tokenizer: Tokenizes
    backend: Backend

    def run(
        self, inputs: Iterable[object], options: Options, done: Callable[[int], object] = lambda count: None
    ) -> Iterator[NDArray[Any]]:
        """Yield the finished vectors (texts, dim) of one window after another, in order; `done(n)` after each batch."""
        report = _Report(self.spec.max_tokens)
        first = 0
        try:
            for window in _windows(inputs):
                texts = check_texts(window, first)
                tokens = self.tokenizer.tokenize(texts, options.template, options.truncation, first)
                report.add(tokens)
                yield self.finish(self._rows(tokens, options.batch_tokens, first, done), options)
                first += len(texts)
        except GeneratorExit:  # the caller has had enough; what was cut until here still counts
            report.warn()
            raise
        report.warn()

    def finish(self, rows: NDArray[np.float32], options: Options) -> NDArray[Any]:
        """Truncate, then normalise, then quantise rows (n, dim), each by itself."""
        rows = rows[:, : options.dim]
        if options.normalize:
            rows = vectors.normalize(rows)
        return vectors.quantize(rows, options.precision)

    def _rows(
        self, tokens: Tokenized, batch_tokens: int, first: int, done: Callable[[int], object]
    ) -> NDArray[np.float32]:
        """Run the backend on batches of like length and pool each text's rows to its place -> (texts, spec.dim)."""
        out = np.empty((len(tokens.ids), self.spec.dim), np.float32)
        for batch in plan([len(ids) for ids in tokens.ids], batch_tokens):
            hidden = self.backend.forward(Batch([tokens.ids[n] for n in batch]))
            out[batch] = [pool(rows, self.spec.pooling) for rows in hidden]
            done(len(batch))
        if not np.isfinite(out).all():
            bad = first + int(np.flatnonzero(~np.isfinite(out).all(axis=1))[0])
            raise BackendError(
                f"input {bad}: the engine gave a vector that is not finite; try another level or backend"
            )
        return out


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
