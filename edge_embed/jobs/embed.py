"""The texts and images of a chunk -> finished vectors, batch by batch, so that an interruption loses one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError
from edge_embed.pipeline.inputs import Inputs
from edge_embed.pipeline.options import Options
from edge_embed.pipeline.windows import TruncationReport
from edge_embed.records.row import Fault, Input, Reason

IMAGES_AT_ONCE = 4  # whose vectors are kept together: of large models one takes seconds


@dataclass(frozen=True)
class Computed:
    """One batch: its window and number in it, positions among the inputs, vectors, faults by position, tokens."""

    window: int
    positions: NDArray[np.int64]
    vectors: NDArray[Any]
    faults: Mapping[int, Fault] = field(default_factory=dict)
    tokens: int = 0


def embed(
    model: Embedder,
    inputs: Sequence[Input],
    options: Options,
    done: Mapping[int, int],
    report: TruncationReport,
    before: Callable[[], object],
) -> Iterator[Computed]:
    """Compute texts, then images; of window w the first `done[w]` batches are left out. `before` is called before each.

    Which inputs share a batch depends on nothing but the inputs.
    """
    texts = [at for at, one in enumerate(inputs) if not isinstance(one, Mapping)]
    images = [at for at, one in enumerate(inputs) if isinstance(one, Mapping)]
    pipeline, number = model._opened.pipeline, 0
    for window in pipeline.parse((inputs[at] for at in texts), options):
        places = np.array(texts[window.first : window.first + window.count], np.int64)
        yield from _texts(model, window, places, options, number, done.get(number, 0), report, before)
        number += 1
    for start in range(0, len(images), IMAGES_AT_ONCE):
        if not done.get(number):
            before()
            yield _images(model, inputs, images[start : start + IMAGES_AT_ONCE], options, number)
        number += 1


def _texts(
    model: Embedder,
    window: Inputs,
    places: NDArray[np.int64],
    options: Options,
    number: int,
    skip: int,
    report: TruncationReport,
    before: Callable[[], object],
) -> Iterator[Computed]:
    pipeline = model._opened.pipeline
    before()
    steps = pipeline.text_steps(window, options, report, skip)
    if window.errors:  # known again each time, so they are no batch of their own
        faults = {int(places[at]): _fault(error, options) for at, error in window.errors.items()}
        yield Computed(-1, np.empty(0, np.int64), np.empty((0, 0)), faults)
    for step in steps:
        positions = places[step.positions]
        yield _finished(model, positions, np.stack(step.rows), options, number, step.tokens)
        before()


def _finished(
    model: Embedder, positions: NDArray[np.int64], rows: NDArray[np.float32], options: Options, number: int, tokens: int
) -> Computed:
    finite = np.isfinite(rows).all(axis=1)
    told = Fault("not-finite", "the engine gave a vector that is not finite; try another level or backend")
    faults = {int(at): told for at in positions[~finite]}
    vectors = model._opened.pipeline.finish(rows[finite], options)
    return Computed(number, positions[finite], vectors, faults, tokens)


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
    return Computed(number, np.array([places[n] for n in good], np.int64), np.concatenate(vectors)[good], faults)


def _fault(error: InputError, options: Options, reason: Reason | None = None) -> Fault:
    """Say what the pipeline found wrong, without the number that the input had there."""
    if reason is None:
        reason = (
            "too-many-tokens" if options.truncation == "error" and " tokens, the limit is " in str(error) else "refused"
        )
    words = str(error).split(maxsplit=2)
    known = len(words) == 3 and words[0] in ("input", "image") and words[1].rstrip(":").isdigit()
    return Fault(reason, words[2] if known else str(error))
