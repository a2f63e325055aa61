"""A tokenizer of the tokenizers library behind the face of a vocabulary that only encodes, as llama.cpp's does."""

from __future__ import annotations

from tokenizers import Tokenizer


class LibraryVocabulary:
    """Text in, ids out; `longest` is the longest text that was asked for."""

    def __init__(self, made: Tokenizer) -> None:
        self._parsing, self._plain = made, Tokenizer.from_str(made.to_str())
        self._plain.encode_special_tokens = True
        self.longest = 0

    def encode_text(self, text: str, *, special: bool = True, add: bool = True) -> list[int]:
        self.longest = max(self.longest, len(text))
        tokenizer = self._parsing if special else self._plain
        return list(tokenizer.encode(text, add_special_tokens=add).ids)

    def special_tokens(self, text: str) -> set[str]:
        added = self._parsing.get_added_tokens_decoder().values()
        return {token.content for token in added if token.special and token.content in text}
