"""The tokens of a text as people look at them: each with its place in the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tokenizers

from edge_embed.errors import InputError

from .texts import check_texts
from .tokenizer import PIECE, TextTokenizer, Tokenizer


class Piece(NamedTuple):
    """A token: its id, and the letters from `start` to `stop` that it stands for; a special one stands for none."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


def pieces_of(tokenizer: Tokenizer, texts: Sequence[object], special: bool = True) -> list[list[Piece]]:
    """Return each text's tokens, uncut and without a prompt, with the special ones around it unless told not to.

    Raises InputError for what is no text, for one of more than PIECE letters, and for a vocabulary that only encodes.
    """
    if not isinstance(tokenizer, TextTokenizer):
        raise InputError("this model's vocabulary, which is inside of its GGUF file, does not tell where tokens lie")
    checked = check_texts(texts)
    for index, text in enumerate(checked):
        if len(text) > PIECE:
            raise InputError(f"input {index} has {len(text):,} letters, tokens are told of up to {PIECE:,}: split it")
    return [_pieces(tokenizer.encoding(text, special), text) for text in checked]


def _pieces(found: tokenizers.Encoding, text: str) -> list[Piece]:
    tokens = zip(found.ids, found.tokens, found.special_tokens_mask, found.offsets, strict=True)
    return [
        Piece(id, name.strip("\0"), True, None, None) if special else Piece(id, text[start:stop], False, start, stop)
        for id, name, special, (start, stop) in tokens
    ]
