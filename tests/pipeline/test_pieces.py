"""Tokens with their places in a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_embed import InputError
from edge_embed.pipeline.pieces import Piece, pieces_of
from edge_embed.pipeline.tokenizer import PIECE, TextTokenizer


def test_places(minilm: Path) -> None:
    tokenizer = TextTokenizer(minilm / "tokenizer.json", 256, "text")
    found = pieces_of(tokenizer, ["Tea, très bon"])[0]
    assert found[:3] == [
        Piece(101, "[CLS]", True, None, None),
        Piece(5572, "Tea", False, 0, 3),
        Piece(1010, ",", False, 3, 4),
    ]
    assert found[-1] == Piece(102, "[SEP]", True, None, None)
    plain = pieces_of(tokenizer, ["[CLS] tea"], special=False)[0]
    assert "".join(piece.text for piece in plain) == "[CLS]tea"
    assert not any(piece.special for piece in plain)


def test_what_has_no_places(tiny_tokenizer: Path) -> None:
    tokenizer = TextTokenizer(tiny_tokenizer, 24)
    with pytest.raises(InputError, match="input 1 has 65,537 letters, tokens are told of up to 65,536"):
        pieces_of(tokenizer, ["a", "a" * (PIECE + 1)])
    with pytest.raises(InputError, match="input 0 has a NUL"):
        pieces_of(tokenizer, ["\0"])
    vocabulary: Any = object()
    with pytest.raises(InputError, match="does not tell where tokens lie"):
        pieces_of(vocabulary, ["a"])
