"""The tokens of a GGUF file's vocabulary, their types, and what the file says of those with a meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gguf

from edge_embed.backends.gguf.checks import AROUND
from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.formats.gguf import Header, read_numbers, read_strings

from .vocabulary import PHANTOM, STRIPPING

KEYS = "tokenizer.ggml."
BESIDE = "put the model's tokenizer.json beside it"
# Ids where a file does not say, as AROUND has those around a text.
USUAL = {"unknown": {"bert": 100, "t5": 2}, "padding": {"bert": 0, "t5": 0}}
MEANINGS = {"bos": "bos", "eos": "eos", "padding": "pad", "unknown": "unk", "seperator": "sep", "mask": "mask"}


@dataclass(frozen=True)
class Words:
    """The tokens of a file, their types, and what it says of them."""

    header: Header

    @cached_property
    def kind(self) -> str:
        """What llama.cpp calls such a vocabulary."""
        return str(self.header.text(f"{KEYS}model"))

    @cached_property
    def tokens(self) -> list[str]:
        """The tokens by their ids, as a tokenizer.json has them."""
        found = self._stored
        if self.kind != "bert":
            return found
        return [
            _piece(token) if kind == gguf.TokenType.NORMAL else token
            for token, kind in zip(found, self.types, strict=True)
        ]

    @cached_property
    def _stored(self) -> list[str]:
        key = f"{KEYS}tokens"
        found = read_strings(self.header, key)
        if not found:
            raise UnsupportedModelError(f"{self.header.path} has no vocabulary, {key}: {BESIDE}")
        try:
            return [token.decode() or f"[EMPTY_{n}]" for n, token in enumerate(found)]
        except UnicodeDecodeError as error:
            raise CorruptModelError(f"{self.header.path}: {key} is not all UTF-8: {error}: get another file") from error

    @cached_property
    def types(self) -> Sequence[float]:
        """Each token's type, a number of gguf.TokenType."""
        return self.numbers("token_type") or [gguf.TokenType.NORMAL] * len(self._stored)

    def numbers(self, name: str) -> Sequence[float]:
        """Return a number for each token, or nothing where the file has none."""
        found = read_numbers(self.header, f"{KEYS}{name}")
        if found and len(found) != len(self._stored):
            raise CorruptModelError(
                f"{self.header.path}: {KEYS}{name} has {len(found):,} numbers for {len(self._stored):,} tokens: get "
                "another file"
            )
        return found

    def flag(self, name: str, default: bool) -> bool:
        """Return whether something is so; `default` if the file does not say."""
        return self.header.flag(f"{KEYS}{name}", default)

    def of_type(self, *kinds: gguf.TokenType) -> list[int]:
        """List the ids of tokens of some types."""
        return [n for n, kind in enumerate(self.types) if kind in kinds]

    def used(self) -> list[int]:
        """List the tokens that the tokenizer has, without rows of the table that stand for none."""
        unused = set(self.of_type(gguf.TokenType.UNUSED))
        return [n for n in range(len(self.tokens)) if n not in unused]

    def token_id(self, name: str) -> int | None:
        """Return the id of a token with a meaning, which llama.cpp knows for some where the file does not say."""
        default = AROUND.get(self.kind, {}).get(name, USUAL.get(name, {}).get(self.kind))
        if default is not None and default >= len(self.tokens):  # llama.cpp disables it then
            default = None
        found = self.header.metadata.get(f"{KEYS}{name}_token_id", default)
        if found is not None and not (type(found) is int and 0 <= found < len(self.tokens)):
            raise CorruptModelError(
                f"{self.header.path}: {KEYS}{name}_token_id={found!r:.80} is none of {len(self.tokens)} tokens"
            )
        return found

    def added(self) -> list[dict[str, Any]]:
        """List the tokens that are found in a text before anything else."""
        pre = self.header.text(f"{KEYS}pre")
        kinds = (gguf.TokenType.CONTROL, gguf.TokenType.UNKNOWN, gguf.TokenType.USER_DEFINED)
        plain = {"single_word": False, "rstrip": False, "normalized": False}
        return [
            {
                "id": n,
                "content": self.tokens[n],
                **plain,
                "lstrip": STRIPPING.get(self.tokens[n]) == pre,
                "special": self.types[n] != gguf.TokenType.USER_DEFINED,
            }
            for n in self.of_type(*kinds)
        ]

    def around(self, first: str | None, last: str | None) -> dict[str, Any] | None:
        """Return a post-processor that puts the tokens of these meanings before and after a text."""
        ids = [None if name is None else self.token_id(name) for name in (first, last)]
        before, after = ([] if n is None else [{"SpecialToken": {"id": self.tokens[n], "type_id": 0}}] for n in ids)
        if not before and not after:
            return None
        text = [{"Sequence": {"id": "A", "type_id": 0}}]
        other = [{"Sequence": {"id": "B", "type_id": 0}}]
        return {
            "type": "TemplateProcessing",
            "single": [*before, *text, *after],
            "pair": [*before, *text, *after, *other, *after],
            "special_tokens": {
                self.tokens[n]: {"id": self.tokens[n], "ids": [n], "tokens": [self.tokens[n]]}
                for n in ids
                if n is not None
            },
        }

    def settings(self, length: int) -> dict[str, Any]:
        """Return what a tokenizer_config.json says: which token means what, and how many fit."""
        found = {f"{name}_token": self.token_id(key) for key, name in MEANINGS.items()}
        named = {name: self.tokens[n] for name, n in found.items() if n is not None}
        return {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": length, **named}


def _piece(token: str) -> str:
    """Return what WordPiece calls a token: it marks a word's continuation, where llama.cpp marks its beginning.

    Older converters left what stands in brackets unmarked.
    """
    if token.startswith(PHANTOM):
        return token[len(PHANTOM) :]
    return token if token.startswith("[") and token.endswith("]") and len(token) > 2 else f"##{token}"
