"""A picture read among the tokens of its prompt: ids in which the picture's rows have their places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_embed.backends import Inserted, Rows
from edge_embed.errors import InputError
from edge_embed.spec.model import IMAGE, TEXT, ModelSpec

from .tokenizer import Ids, TokenCount, Tokenizer, Truncation


@dataclass(frozen=True)
class Read:
    """Ids with as many of the picture's token as it has rows, where these begin, and how much text was cut."""

    ids: Ids
    inserted: Inserted
    count: TokenCount


def read_picture(
    tokenizer: Tokenizer,
    spec: ModelSpec,
    template: str,
    caption: str | None,
    rows: Rows,
    truncation: Truncation,
    index: int,
) -> Read:
    """Put a picture's rows (n, dim), and a text if the template takes one, into the template.

    Of the text only is cut what does not fit. Raises InputError that names the index when picture and prompt alone are
    too long, or when the template spells the picture's token once more.
    """
    assert spec.image_token is not None
    words = tokenizer.limited(spec.max_tokens - len(rows) + 1)
    filled = template.replace(IMAGE, spec.image_token)
    text, around = (filled, TEXT) if caption is None else (caption, filled)
    try:
        found = words.tokenize([text], around, "error" if caption is None else truncation, index)
    except InputError as error:
        raise InputError(
            f"image {index} becomes {len(rows)} tokens, and with prompt and text {spec.name} takes {spec.max_tokens}: "
            f"give a larger max_tokens ({error})"
        ) from error
    (ids,), (count,) = found.ids, found.counts
    token = tokenizer.token_id(spec.image_token)
    places = np.flatnonzero(ids == token)
    if len(places) != 1:
        raise InputError(
            f"input {index} has the picture's token {spec.image_token!r} {len(places)} times: the prompt {template!r} "
            f"must not spell it beside {IMAGE}"
        )
    at, more = int(places[0]), len(rows) - 1
    whole = np.concatenate([ids[:at], np.full(len(rows), token, np.int32), ids[at + 1 :]])
    return Read(whole, Inserted(at, rows), TokenCount(count.tokens + more, count.cut))
