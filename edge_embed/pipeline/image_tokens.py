"""An image read among the tokens of its prompt: its one token becomes as many as the image has rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_embed.backends import ImageRows, Rows
from edge_embed.errors import InputError
from edge_embed.spec.model import IMAGE, TEXT, ModelSpec

from .tokenizer import Ids, TokenCount, Tokenizer, Truncation


@dataclass(frozen=True)
class ImagePrompt:
    """Ids with the image's token repeated for each of its rows, where these begin, and how much text was cut."""

    ids: Ids
    image_rows: ImageRows
    count: TokenCount


def expand_image_token(
    tokenizer: Tokenizer,
    spec: ModelSpec,
    template: str,
    caption: str | None,
    rows: Rows,
    truncation: Truncation,
    index: int,
) -> ImagePrompt:
    """Put an image's rows (n, dim), and a caption if the template takes one, into the template.

    Only the caption is cut. Raises InputError that names the index when image and prompt alone are too long, or when
    the template spells the image's token once more.
    """
    assert spec.image_token is not None
    shorter = tokenizer.limited(spec.max_tokens - len(rows) + 1)
    filled = template.replace(IMAGE, spec.image_token)
    text, around = ("", filled + TEXT) if caption is None else (caption, filled)  # a prompt's own tokens are in it
    try:
        tokenized = shorter.tokenize([text], around, "error" if caption is None else truncation, index)
    except InputError as error:
        raise InputError(
            f"image {index} becomes {len(rows)} tokens, and with prompt and text {spec.name} takes {spec.max_tokens}: "
            f"give a larger max_tokens ({error})"
        ) from error
    (ids,), (count,) = tokenized.ids, tokenized.counts
    token = tokenizer.token_id(spec.image_token)
    positions = np.flatnonzero(ids == token)
    if len(positions) != 1:
        raise InputError(
            f"input {index} has the image's token {spec.image_token!r} {len(positions)} times: the prompt {template!r} "
            f"must not spell it beside {IMAGE}"
        )
    at, more = int(positions[0]), len(rows) - 1
    expanded = np.concatenate([ids[:at], np.full(len(rows), token, np.int32), ids[at + 1 :]])
    return ImagePrompt(expanded, ImageRows(at, rows), TokenCount(count.tokens + more, count.cut))
