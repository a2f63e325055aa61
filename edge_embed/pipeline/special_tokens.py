"""Special tokens that a user's text spells, such as [PAD]: read as tokens, or as the text that they are.

Read as text, the vocabulary's special tokens get names that no text can hold, since texts have no NUL; a prompt, whose
special tokens stay what they are, is spelled with those names. All else of the tokenizer is as it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from edge_embed.errors import CorruptModelError, InputError, listing
from edge_embed.formats.json_file import read_object

from .closing_token import with_closing_token

SpecialTokens = Literal["tokens", "text"]


def check_special_tokens(name: str) -> None:
    """Raise InputError unless the name is one of the two ways to read what spells a special token."""
    if name not in get_args(SpecialTokens):
        raise InputError(f"unknown special_tokens={name!r}: choose from {listing(get_args(SpecialTokens))}")


class HiddenNames:
    """Spells the special tokens of a prompt with the names that stand for them; of none, leaves a prompt as it is."""

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        self.tokens = sorted(tokens, key=len, reverse=True)  # of two that begin alike the longer one counts
        self._pattern = re.compile("|".join(map(re.escape, self.tokens))) if self.tokens else None

    def __call__(self, prompt: str) -> str:
        """Replace each special token in a prompt by its hidden name."""
        return prompt if self._pattern is None else self._pattern.sub(lambda found: _hidden(found[0]), prompt)


def source_of(path: Path, special_tokens: SpecialTokens) -> tuple[str | None, HiddenNames]:
    """Return what is to be read in place of a tokenizer.json's text, if anything is, and how prompts are spelled."""
    return hide_special_tokens(path) if special_tokens == "text" else (with_closing_token(path), HiddenNames())


def hide_special_tokens(path: Path) -> tuple[str, HiddenNames]:
    """Return a tokenizer.json that reads special tokens in texts as text, and what spells them in prompts.

    As transformers has it with split_special_tokens: added tokens that are not special remain tokens. Raises
    CorruptModelError.
    """
    closed = with_closing_token(path)
    data = read_object(path) if closed is None else json.loads(closed)
    try:
        added = [token for token in data.get("added_tokens") or [] if token.get("special")]
        names = {token["content"]: _hidden(token["content"]) for token in added if token["content"]}
        for token in added:
            token |= {"content": names.get(token["content"], ""), "normalized": False}
        _rename(data["model"], names)
    except (AttributeError, KeyError, TypeError) as error:
        raise CorruptModelError(f"{path} is not a tokenizer.json: {error!r}") from error
    return json.dumps(data), HiddenNames(names)


def _rename(model: dict[str, Any], names: dict[str, str]) -> None:
    """Rename tokens in a model's vocabulary, so that it cannot make them of the letters of a text either."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(word, word): number for word, number in vocabulary.items()}
    else:
        model["vocab"] = [[names.get(word, word), score] for word, score in vocabulary]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if merges := model.get("merges"):
        pairs = (pair.split(" ", 1) if isinstance(pair, str) else pair for pair in merges)
        model["merges"] = [pair for pair, (one, other) in zip(merges, pairs, strict=True) if one + other not in names]


def _hidden(token: str) -> str:
    return f"\0{token}\0"
