"""Inputs of one window -> the rows of a request: checked, tokenised, images decoded. Runs beside the event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from edge_embed.backends import Rows
from edge_embed.errors import InputError
from edge_embed.pipeline.guarded import as_ids
from edge_embed.pipeline.inputs import Inputs
from edge_embed.pipeline.options import Options
from edge_embed.pipeline.pipeline import Pipeline
from edge_embed.pipeline.reading import keep, load_images, read_images, read_texts
from edge_embed.pipeline.rows import TextRow
from edge_embed.pipeline.tokenizer import TokenCount

from .engine import ImageRow
from .request import Row


@dataclass
class Prepared:
    """Rows by position, tokens by position as far as they are known, and inputs that failed."""

    rows: dict[int, Row] = field(default_factory=dict)
    counts: dict[int, TokenCount] = field(default_factory=dict)
    errors: Mapping[int, InputError] = field(default_factory=dict)


def prepare(pipeline: Pipeline, inputs: Inputs, options: Options, ids: Mapping[int, Sequence[int]]) -> Prepared:
    """Read a window's inputs; those at the positions of `ids` are token ids, taken as they are.

    Raises InputError for an input that cannot be embedded, or keeps it in `errors` where that was asked for.
    """
    read = read_texts(pipeline.spec, pipeline.tokenizer, inputs, options)
    prepared = Prepared({**read.rows}, read.counts, inputs.errors)
    for position, given in ids.items():
        try:
            row = _read_ids(given, inputs.first + position, pipeline)
        except InputError as error:
            del prepared.rows[position]  # of the empty text that stands in its place
            keep(inputs, position, error, options)
            continue
        prepared.rows[position], prepared.counts[position] = row, TokenCount(len(given), 0)
    _load_images(pipeline, inputs, options, prepared)
    prepared.rows = {position: prepared.rows[position] for position in sorted(prepared.rows)}
    return prepared


def _read_ids(given: Sequence[int], index: int, pipeline: Pipeline) -> TextRow:
    most, size = pipeline.spec.max_tokens, pipeline.tokenizer.size
    if not 0 < len(given) <= most:
        raise InputError(f"input {index} has {len(given)} token ids, the model takes 1 to {most}")
    if not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < size for one in given):
        raise InputError(f"input {index} is no list of token ids of this model: whole numbers from 0 to {size - 1:,}")
    return TextRow(pipeline.tokenizer.fill(as_ids(given)), index)


def _load_images(pipeline: Pipeline, inputs: Inputs, options: Options, prepared: Prepared) -> None:
    spec = pipeline.spec
    if not inputs.images:
        return
    assert spec.image is not None
    for position, image in load_images(spec.image, inputs, options, pipeline.threads):
        if isinstance(image, InputError):
            keep(inputs, position, image, options)
        elif spec.image_token is None:
            prepared.rows[position] = ImageRow(image)
        else:
            prepared.rows[position] = ImageRow(image, _reader(pipeline, inputs, options, position, prepared))


def _reader(
    pipeline: Pipeline, inputs: Inputs, options: Options, position: int, prepared: Prepared
) -> Callable[[Rows], TextRow]:
    """Return what puts an image's rows, when they are known, into the prompt; an error is then that row's own."""
    raising = replace(options, keep_errors=False)

    def read(rows: Rows) -> TextRow:
        found = read_images(pipeline.spec, pipeline.tokenizer, inputs, raising, {position: rows})
        prepared.counts[position] = found.counts[position]
        return found.rows[position]

    return read
