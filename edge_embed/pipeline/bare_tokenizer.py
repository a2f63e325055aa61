"""Tokens of static models: a text's own alone, without special ones around it, and for some without unknown ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edge_embed.errors import CorruptModelError
from edge_embed.formats.json_file import read_object
from edge_embed.spec.model import TEXT

from .special_tokens import SpecialTokens, hide_special_tokens
from .tokenizer import TextTokenizer, Tokenized, Truncation


class BareTokenizer(TextTokenizer):
    """A tokenizer.json without what it puts around texts; with `drop_unknown` as model2vec reads it.

    A text may have no tokens then.
    """

    def __init__(
        self, path: Path, max_tokens: int, special_tokens: SpecialTokens = "tokens", *, drop_unknown: bool = False
    ) -> None:
        text = None if special_tokens == "tokens" else hide_special_tokens(path)[0]
        values = read_object(path) if text is None else json.loads(text)
        super().__init__(path, max_tokens, special_tokens, changed=json.dumps({**values, "post_processor": None}))
        self._unknown = _unknown(values, path) if drop_unknown else None

    def tokenize(
        self, texts: Sequence[str], template: str = TEXT, truncation: Truncation = "end", first: int = 0
    ) -> Tokenized:
        """Tokenise as `TextTokenizer` does; what is left out counts among a text's tokens."""
        found = super().tokenize(texts, template, truncation, first)
        if self._unknown is None:
            return found
        return Tokenized([ids[ids != self._unknown] for ids in found.ids], found.counts)


def _unknown(values: dict[str, object], path: Path) -> int | None:
    """Return the id of the word that stands for unknown ones; None where there is none."""
    model = values.get("model")
    if not isinstance(model, dict):
        raise CorruptModelError(f"{path} is not a tokenizer.json: it has no model")
    number, word, words = model.get("unk_id"), model.get("unk_token"), model.get("vocab")
    if isinstance(number, int):  # Unigram
        return number
    found = words.get(word) if isinstance(words, dict) and isinstance(word, str) else None
    return found if isinstance(found, int) else None
