"""A text of any length -> where each of its tokens stands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .tokenizer import TextTokenizer, split


def token_offsets(tokenizer: TextTokenizer, text: str) -> NDArray[np.int64]:
    """Return the letters (tokens, 2) of every token of a text without a prompt, however long it is."""
    found, at = [np.empty((0, 2), np.int64)], 0
    for piece in split(text):
        offsets = tokenizer.encoding(piece, special=False).offsets
        found.append(np.array(offsets, np.int64).reshape(-1, 2) + at)
        at += len(piece)
    return np.concatenate(found)
