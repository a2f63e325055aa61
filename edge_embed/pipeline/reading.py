"""Inputs -> rows for an engine: texts within their prompt, cut to the model's length, and images' rows among tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_embed.backends import Rows
from edge_embed.errors import InputError
from edge_embed.images.preprocess import load_ahead
from edge_embed.spec.image import ImagePixels, ImageSpec
from edge_embed.spec.model import ModelSpec

from .image_tokens import expand_image_token
from .inputs import Inputs
from .options import Options
from .rows import TextRow
from .tokenizer import Ids, TokenCount, Tokenized, Tokenizer


@dataclass
class Read:
    """Rows and token counts by position; inputs that could not be read are in `Inputs.errors`."""

    rows: dict[int, TextRow] = field(default_factory=dict)
    counts: dict[int, TokenCount] = field(default_factory=dict)


def read_texts(spec: ModelSpec, tokenizer: Tokenizer, inputs: Inputs, options: Options) -> Read:
    """Tokenise the texts; raise InputError for one that does not fit, or keep it where that was asked for."""
    read, template = Read(), options.templates.text
    skip = 0 if spec.include_prompt or not inputs.texts else tokenizer.prompt_length(template)
    prefix = tokenizer.prefix(template) if inputs.texts and spec.attention == "causal" else np.empty(0, np.int32)
    for positions, tokens in _tokenize(tokenizer, inputs, options):
        for position, ids, count in zip(positions, tokens.ids, tokens.counts, strict=True):
            read.rows[position] = TextRow(ids, inputs.first + position, _begins_with(prefix, ids), skip=skip)
            read.counts[position] = count
    return read


def _tokenize(tokenizer: Tokenizer, inputs: Inputs, options: Options) -> Iterator[tuple[Sequence[int], Tokenized]]:
    """Tokenise all texts at once where their indices follow one another and none may fail by itself, else one by one.

    A message's index is the input's, whatever stands between the texts.
    """
    positions, template, truncation = [*inputs.texts], options.templates.text, options.truncation
    apart = options.keep_errors and truncation == "error"
    if not positions or (positions[-1] == len(positions) - 1 and not apart):
        yield positions, tokenizer.tokenize([*inputs.texts.values()], template, truncation, inputs.first)
        return
    for position, text in inputs.texts.items():
        try:
            yield [position], tokenizer.tokenize([text], template, truncation, inputs.first + position)
        except InputError as error:
            keep(inputs, position, error, options)


def load_images(
    spec: ImageSpec, inputs: Inputs, options: Options, threads: int
) -> Iterator[tuple[int, ImagePixels | InputError]]:
    """Yield each image's pixels with its position, or its error where that was asked for; else raises InputError."""
    loaded = load_ahead(
        inputs.images.values(),
        spec,
        options.sources,
        threads=threads,
        errors="return" if options.keep_errors else "raise",
        indices=[inputs.first + position for position in inputs.images],
    )
    return zip(inputs.images, loaded, strict=True)


def read_images(
    spec: ModelSpec, tokenizer: Tokenizer, inputs: Inputs, options: Options, images: Mapping[int, Rows]
) -> Read:
    """Put images' rows, by position, into their prompts, with their texts if they have any; raises as `read_texts`."""
    read = Read()
    for position, rows in images.items():
        caption, index = inputs.captions.get(position), inputs.first + position
        template = options.templates.image if caption is None else options.templates.composed
        try:
            prompt = expand_image_token(tokenizer, spec, template, caption, rows, options.truncation, index)
        except InputError as error:
            keep(inputs, position, error, options)
            continue
        read.rows[position] = TextRow(prompt.ids, index, 0, prompt.image_rows)
        read.counts[position] = prompt.count
    return read


def keep(inputs: Inputs, position: int, error: InputError, options: Options) -> None:
    """Raise the error, or keep it for its input's position where that was asked for."""
    if not options.keep_errors:
        raise error
    inputs.errors[position] = error


def _begins_with(prefix: Ids, ids: Ids) -> int:
    """Return the prompt's length if the text left its ids as they are: its letters may join the prompt's last token."""
    size = len(prefix)
    return size if size and len(ids) > size and bool((ids[:size] == prefix).all()) else 0
