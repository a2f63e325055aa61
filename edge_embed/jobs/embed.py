"""The texts and images of a chunk -> finished vectors, some batches at a time, so that an interruption loses few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError
from edge_embed.pipeline.inputs import Inputs
from edge_embed.pipeline.options import Options
from edge_embed.pipeline.steps import Step
from edge_embed.pipeline.windows import TruncationReport
from edge_embed.records.row import Fault, Input, Reason

IMAGES_AT_ONCE = 4  # whose vectors are kept together: of large models one takes seconds


@dataclass(frozen=True)
class Computed:
    """Batches of one window that follow one another: positions among the inputs, vectors, faults by position.

    `window` is its number; of inputs that were refused unread, which are known again each time, there are 0 batches.
    """

    window: int
    batches: int
    positions: NDArray[np.int64]
    vectors: NDArray[Any]
    faults: Mapping[int, Fault] = field(default_factory=dict)
    tokens: int = 0


class Watch:
    """Whom to tell of batches: this one tells nobody."""

    def before(self) -> None:
        """Come before each batch; may raise to stop."""

    def after(self, texts: int, tokens: int) -> None:
        """Come after each batch, with the numbers of its texts and tokens."""


def embed(
    model: Embedder,
    inputs: Sequence[Input],
    options: Options,
    done: Mapping[int, int],
    report: TruncationReport,
    watch: Watch,
    due: Callable[[], bool],
) -> Iterator[Computed]:
    """Compute texts, then images; of window w the first `done[w]` batches are left out. `watch` is told of each.

    Batches of texts are finished together: at a window's end, and whenever it is `due` after one. Which inputs share a
    batch depends on nothing but the inputs.
    """
    texts = [at for at, one in enumerate(inputs) if not isinstance(one, Mapping)]
    images = [at for at, one in enumerate(inputs) if isinstance(one, Mapping)]
    pipeline, number = model._opened.pipeline, 0
    for window in pipeline.parse((inputs[at] for at in texts), options):
        places = np.array(texts[window.first : window.first + window.count], np.int64)
        yield from _texts(model, window, places, options, number, done.get(number, 0), report, watch, due)
        number += 1
    for start in range(0, len(images), IMAGES_AT_ONCE):
        if not done.get(number):
            watch.before()
            computed = _images(model, inputs, images[start : start + IMAGES_AT_ONCE], options, number)
            watch.after(len(computed.positions), 0)
            yield computed
        number += 1


def _texts(
    model: Embedder,
    window: Inputs,
    places: NDArray[np.int64],
    options: Options,
    number: int,
    skip: int,
    report: TruncationReport,
    watch: Watch,
    due: Callable[[], bool],
) -> Iterator[Computed]:
    pipeline = model._opened.pipeline
    watch.before()
    steps = pipeline.text_steps(window, options, report, skip)
    if window.errors:
        faults = {int(places[at]): _fault(error, options) for at, error in window.errors.items()}
        yield Computed(number, 0, np.empty(0, np.int64), np.empty((0, 0)), faults)
    waiting = list[Step]()
    for step in steps:
        watch.after(len(step.positions), step.tokens)
        waiting.append(replace(step, rows=[np.stack(step.rows)]))  # a copy: rows may be views of all that was computed
        if due():
            yield _finished(model, places, waiting, options, number)
            waiting = []
        watch.before()
    if waiting:
        yield _finished(model, places, waiting, options, number)


def _finished(
    model: Embedder, places: NDArray[np.int64], steps: Sequence[Step], options: Options, number: int
) -> Computed:
    """Finish batches, each row by itself: one call for many costs a fraction of many calls."""
    positions = places[np.concatenate([step.positions for step in steps])]
    rows = np.concatenate([rows for step in steps for rows in step.rows])
    finite = np.isfinite(rows).all(axis=1)
    told = Fault("not-finite", "the engine gave a vector that is not finite; try another level or backend")
    faults = {int(at): told for at in positions[~finite]}
    vectors = model._opened.pipeline.finish(rows[finite], options)
    tokens = sum(step.tokens for step in steps)
    return Computed(number, len(steps), positions[finite], vectors, faults, tokens)


def _images(model: Embedder, inputs: Sequence[Input], places: list[int], options: Options, number: int) -> Computed:
    pipeline = model._opened.pipeline
    windows = pipeline.parse([inputs[at] for at in places], options)
    vectors: list[NDArray[Any]] = []
    faults: dict[int, Fault] = {}
    first = 0
    for window in pipeline.run(windows, options):
        vectors.append(window.vectors)
        faults |= {places[first + at]: _fault(error, options, "image") for at, error in window.errors.items()}
        first += len(window.vectors)
    good = [n for n, at in enumerate(places) if at not in faults]
    positions = np.array([places[n] for n in good], np.int64)
    return Computed(number, 1, positions, np.concatenate(vectors)[good], faults)


def _fault(error: InputError, options: Options, reason: Reason | None = None) -> Fault:
    """Say what the pipeline found wrong, without the number that the input had there."""
    if reason is None:
        reason = (
            "too-many-tokens" if options.truncation == "error" and " tokens, the limit is " in str(error) else "refused"
        )
    words = str(error).split(maxsplit=2)
    known = len(words) == 3 and words[0] in ("input", "image") and words[1].rstrip(":").isdigit()
    return Fault(reason, words[2] if known else str(error))
