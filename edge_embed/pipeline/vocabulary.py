"""Text -> ids by a vocabulary that only encodes, such as the one inside a GGUF file; truncation as in `tokenizer.py`.

Such a vocabulary tells no token's place in the text. What belongs to the template is found by comparison: the ids that
stay the same, at either end, whatever the text is. A template's word that touches the text, without a space or a mark
between them, may be cut with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from edge_embed.backends import OwnVocabulary
from edge_embed.errors import InputError
from edge_embed.spec.model import TEXT

from .cut import keep_ends, truncate
from .special_tokens import SpecialTokens
from .tokenizer import (
    PIECE,
    PROBES,
    Ids,
    Tokenized,
    Truncation,
    common_prefix,
    fit_rows,
    single_id,
    split,
)


class VocabularyTokenizer:
    """Tokenise texts inside a prompt template and fit them to a length.

    `special_tokens` says how to read what spells one in a text; a template's own are tokens in any case.
    """

    def __init__(self, vocabulary: OwnVocabulary, max_tokens: int, special_tokens: SpecialTokens = "tokens") -> None:
        self._vocabulary, self._special_tokens = vocabulary, special_tokens
        self.max_tokens = max_tokens

    def tokenize(
        self, texts: Sequence[str], template: str = TEXT, truncation: Truncation = "end", first: int = 0
    ) -> Tokenized:
        """Tokenise each text within the template: `ids` of at most `max_tokens`, int32, and the counts before cutting.

        Only content is cut, never the template's tokens nor the special ones. Raises InputError when `truncation` is
        "error" and a text is too long (its index counts from `first`), or when the template alone does not fit.
        """
        before, after = template.split(TEXT, 1)
        rows = (self._encode(before, text, after) if len(text) <= PIECE else None for text in texts)
        return fit_rows(
            rows, lambda n, row: self._fit(texts[n], template, truncation, row), self.max_tokens, truncation, first
        )

    @property
    def size(self) -> int:
        """As many as there can be: the vocabulary does not say, and its backend checks ids by itself."""
        return 1 << 31

    def limited(self, max_tokens: int) -> VocabularyTokenizer:
        """Return the same tokenizer with another length."""
        return VocabularyTokenizer(self._vocabulary, max_tokens, self._special_tokens)

    def prefix(self, template: str) -> Ids:
        """Return the ids before the text that two texts leave as they are; another may join the last with its own."""
        return np.array(self._borders(template)[0], np.int32)

    def prompt_length(self, template: str) -> int:
        """Count the tokens of what stands before the text, when it stands alone, without a closing token."""
        before = template.split(TEXT, 1)[0]
        if not before:
            return 0
        return len(self._vocabulary.encode_text(before)) - len(self._borders(TEXT)[1])

    def token_id(self, token: str) -> int:
        """Return the id of a special token; raise UnsupportedModelError when it is none."""
        return single_id(self._vocabulary.encode_text(token, add=False), token)

    def fill(self, ids: Ids) -> Ids:
        """Return a text's ids as they are: no GGUF has a model that reads what fills texts up."""
        return ids

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
        yield _without(self._encode(before, start, ""), [], closing)
        for piece in inner[:-1]:
            yield _without(self._encode("", piece, ""), opening, closing)
        yield _without(self._encode("", inner[-1], after), opening, [])

    def _borders(self, template: str) -> tuple[list[int], list[int]]:
        """Return the ids before and after the text that no text changes."""
        one, other = (self._vocabulary.encode_text(template.replace(TEXT, probe)) for probe in PROBES)
        left = common_prefix(one, other)
        right = min(common_prefix(one[::-1], other[::-1]), len(one) - left)
        return one[:left], one[len(one) - right :]

    def _encode(self, before: str, text: str, after: str) -> list[int]:
        """Return the ids of a text between the parts of a template, with those that the model adds around them.

        Where special tokens in texts are text, the template is cut at its own, as llama.cpp itself would cut there.
        """
        encode = self._vocabulary.encode_text
        if self._special_tokens == "tokens":
            return encode(before + text + after)
        head, before = self._split_at_tokens(before, last=True)
        after, tail = self._split_at_tokens(after, last=False)
        if not head and not tail:
            return encode(before + text + after, special=False)
        opening, closing = self._borders(TEXT)
        inner = encode(before + text + after, special=False, add=False)
        return [*opening, *encode(head, add=False), *inner, *encode(tail, add=False), *closing]

    def _split_at_tokens(self, part: str, last: bool) -> tuple[str, str]:
        """Cut a part of a template behind its last special token, or before its first."""
        spelled = sorted(self._vocabulary.special_tokens(part), key=len, reverse=True)
        found = [*re.finditer("|".join(map(re.escape, spelled)), part)] if spelled else []
        at = (found[-1].end() if last else found[0].start()) if found else (0 if last else len(part))
        return part[:at], part[at:]


def _without(ids: list[int], opening: list[int], closing: list[int]) -> list[int]:
    return ids[len(opening) : len(ids) - len(closing)]
