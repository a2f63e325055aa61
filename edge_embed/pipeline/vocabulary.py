"""Text -> ids by a vocabulary that only encodes, such as the one inside a GGUF file; truncation as in `tokenizer.py`.

Such a vocabulary tells no token's place in the text. What belongs to the template is found by comparison: the ids that
stay the same, at either end, whatever the text is. A template's word that touches the text, without a space or a mark
between them, may be cut with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from edge_embed.errors import InputError
from edge_embed.spec.model import TEXT

from .tokenizer import (
    PIECE,
    PROBES,
    Ids,
    Tokenized,
    Truncation,
    common_prefix,
    fit_rows,
    keep_ends,
    single_id,
    split,
    truncate,
)


class VocabularyTokenizer:
    """Tokenise texts inside a prompt template and fit them to a length; `encode` adds the model's special tokens."""

    def __init__(self, encode: Callable[[str], list[int]], max_tokens: int) -> None:
        self._encode = encode
        self.max_tokens = max_tokens

    def tokenize(
        self, texts: Sequence[str], template: str = TEXT, truncation: Truncation = "end", first: int = 0
    ) -> Tokenized:
        """Tokenise each text within the template: `ids` of at most `max_tokens`, int32, and the counts before cutting.

        Only content is cut, never the template's tokens nor the special ones. Raises InputError when `truncation` is
        "error" and a text is too long (its index counts from `first`), or when the template alone does not fit.
        """
        rows = (self._encode(template.replace(TEXT, text)) if len(text) <= PIECE else None for text in texts)
        return fit_rows(
            rows, lambda n, row: self._fit(texts[n], template, truncation, row), self.max_tokens, truncation, first
        )

    def limited(self, max_tokens: int) -> VocabularyTokenizer:
        """Return the same tokenizer with another length."""
        return VocabularyTokenizer(self._encode, max_tokens)

    def prefix(self, template: str) -> Ids:
        """Return the ids before the text that two texts leave as they are; another may join the last with its own."""
        return np.array(self._borders(template)[0], np.int32)

    def token_id(self, token: str) -> int:
        """Return the id of a special token; raise UnsupportedModelError when it is none."""
        return single_id(_without(self._encode(token), *self._borders(TEXT)), token)

    def _fit(self, text: str, template: str, truncation: Truncation, row: list[int] | None) -> tuple[list[int], int]:
        """Return the ids of a long text cut to `max_tokens`, and how many it had; `row`: all of them, if known."""
        left, right = self._borders(template)
        pieces = iter([row]) if row is not None else self._pieces(text, template)
        start = next(pieces)
        before = start[: common_prefix(start, left)]
        content, total = start[len(before) :], len(start)
        room = self.max_tokens - len(before) - len(right)
        if room < 1:
            raise InputError(
                f"the prompt {template!r} alone takes {len(before) + len(right)} of {self.max_tokens} tokens"
            )
        for ids in pieces:
            content, total = keep_ends(content + ids, room + len(right)), total + len(ids)
        after = content[len(content) - common_prefix(content[::-1], right[::-1]) :]
        content = content[: len(content) - len(after)]
        room = self.max_tokens - len(before) - len(after)
        return before + truncate(content, room, truncation) + after, total

    def _pieces(self, text: str, template: str) -> Iterator[list[int]]:
        """Tokenise a long text within its template piece by piece; special tokens stand at the very ends only."""
        before, after = template.split(TEXT, 1)
        start, *inner = split(text)
        opening, closing = self._borders(TEXT)
        yield _without(self._encode(before + start), [], closing)
        for piece in inner[:-1]:
            yield _without(self._encode(piece), opening, closing)
        yield _without(self._encode(inner[-1] + after), opening, [])

    def _borders(self, template: str) -> tuple[list[int], list[int]]:
        """Return the ids before and after the text that no text changes."""
        one, other = (self._encode(template.replace(TEXT, probe)) for probe in PROBES)
        left = common_prefix(one, other)
        right = min(common_prefix(one[::-1], other[::-1]), len(one) - left)
        return one[:left], one[len(one) - right :]


def _without(ids: list[int], opening: list[int], closing: list[int]) -> list[int]:
    return ids[len(opening) : len(ids) - len(closing)]
