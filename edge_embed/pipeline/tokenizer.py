"""Text -> token ids, the same for every backend; truncation that keeps prompt and closing token, and its report.

Knows `tokenizer.json` and prompt templates; knows nothing of models or batches.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
import tokenizers
from numpy.typing import NDArray

from edge_embed.errors import InputError, UnsupportedModelError, listing
from edge_embed.spec.model import TEXT

from .compact.tokenizer import open_tokenizer
from .cut import keep_ends, truncate
from .guarded import as_ids
from .special_tokens import SpecialTokens

Truncation = Literal["end", "start", "middle", "error"]
Ids = NDArray[np.int32]
PROBES = ("a", "b")  # two texts that begin and end with other tokens
PIECE = 1 << 16  # characters; longer texts are tokenised piece by piece, which bounds memory


class TokenCount(NamedTuple):
    """How many tokens a text has, with its prompt and closing token, and how many of them would be cut."""

    tokens: int
    cut: int


@dataclass(frozen=True)
class Tokenized:
    """Token ids of each text as the backend gets them, and what was cut."""

    ids: list[Ids]
    counts: list[TokenCount]


class Tokenizer(Protocol):
    """What the pipeline asks of a tokenizer: see `TextTokenizer`."""

    @property
    def size(self) -> int:
        """How many tokens there are: an id is less."""

    def limited(self, max_tokens: int) -> Tokenizer:
        """Return the same tokenizer with another length."""

    def tokenize(
        self, texts: Sequence[str], template: str = TEXT, truncation: Truncation = "end", first: int = 0
    ) -> Tokenized:
        """Tokenise each text within the template, cut to the model's length."""

    def prefix(self, template: str) -> Ids:
        """Return the ids before the text that most texts leave as they are."""

    def prompt_length(self, template: str) -> int:
        """Count the tokens of what stands before the text, when it stands alone: see `TextTokenizer`."""

    def token_id(self, token: str) -> int:
        """Return the id of a special token; raise UnsupportedModelError when it is none."""

    def fill(self, ids: Ids) -> Ids:
        """Fill a text's ids up to the length that the model wants of every text, if it wants one."""


def check_truncation(truncation: str) -> None:
    """Raise InputError unless the name is one of the four truncation policies."""
    if truncation not in get_args(Truncation):
        raise InputError(f"unknown truncation {truncation!r}: choose from {listing(get_args(Truncation))}")


class TextTokenizer:
    """Tokenise texts inside a prompt template and fit them to a length.

    `special_tokens` says how to read what spells one in a text; a template's own are tokens in any case.
    `changed` is read in place of the file's text; with `lower_case` texts are lowered first. Where both are left out,
    a large vocabulary is kept in `cache` as tables, which are mapped the next time.
    """

    def __init__(
        self,
        path: Path,
        max_tokens: int,
        special_tokens: SpecialTokens = "tokens",
        changed: str | None = None,
        lower_case: bool = False,
        cache: Path | None = None,
    ) -> None:
        self.max_tokens = max_tokens
        self._tokenizer, self._spell = open_tokenizer(path, special_tokens, changed, lower_case, cache)

    def tokenize(
        self, texts: Sequence[str], template: str = TEXT, truncation: Truncation = "end", first: int = 0
    ) -> Tokenized:
        """Tokenise each text within the template: `ids` of at most `max_tokens`, int32, and the counts before cutting.

        Only content is cut, never the template's tokens nor the special ones. Raises InputError when `truncation` is
        "error" and a text is too long (its index counts from `first`), or when the template alone does not fit.
        """
        spelled = self._spell(template)
        short = [n for n, text in enumerate(texts) if len(text) <= PIECE]
        found = self._tokenizer.ids([spelled.replace(TEXT, texts[n]) for n in short])
        whole = dict(zip(short, found, strict=True))
        rows = (whole.get(n) for n in range(len(texts)))
        return fit_rows(
            rows, lambda n, row: self._fit(texts[n], template, truncation, row), self.max_tokens, truncation, first
        )

    @property
    def size(self) -> int:
        """How many tokens there are, those that were added among them."""
        return self._tokenizer.size

    def limited(self, max_tokens: int) -> TextTokenizer:
        """Return the same tokenizer with another length."""
        other = copy(self)
        other.max_tokens = max_tokens
        return other

    def prefix(self, template: str) -> Ids:
        """Return the ids before the text that two texts leave as they are; another may join the last with its own."""
        return as_ids(self._opening(self._spell(template)))

    def prompt_length(self, template: str) -> int:
        """Count the tokens of what stands before the text as sentence-transformers does: alone, not the closing one."""
        before = self._tokenizer.encode(self._spell(template).split(TEXT, 1)[0])
        return len(before.ids) - (before.special_tokens_mask[-1:] == [1]) if not template.startswith(TEXT) else 0

    def token_id(self, token: str) -> int:
        """Return the id of a special token; raise UnsupportedModelError when it is none."""
        return single_id(self._tokenizer.ids([self._spell(token)], add_special_tokens=False)[0], token)

    def fill(self, ids: Ids) -> Ids:
        """Return a text's ids as they are: see `FilledTokenizer`."""
        return ids

    def spans(self, text: str, template: str, places: Sequence[tuple[int, int]]) -> tuple[Ids, list[tuple[int, int]]]:
        """Return a text's ids within the template, uncut, and for each (start, stop) in its letters that in its ids.

        A token belongs to the place in which it begins.
        """
        spelled = self._spell(template)
        encoding = self._tokenizer.encode(spelled.replace(TEXT, text))
        first = spelled.index(TEXT)
        begins = np.array([start - first if start < stop else -1 for start, stop in encoding.offsets], np.int64)
        spans = []
        for start, stop in places:
            inside = np.flatnonzero((begins >= start) & (begins < stop))
            spans.append((int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0))
        return as_ids(encoding.ids), spans

    @property
    def huggingface(self) -> tokenizers.Tokenizer:
        """The tokenizer itself, for libraries that count tokens with it."""
        return self._tokenizer.unguarded

    def encoding(self, text: str, special: bool) -> tokenizers.Encoding:
        """Return a text's tokens, uncut and without a prompt, with the special ones around it or without."""
        return self._tokenizer.encode(text, add_special_tokens=special)

    def to_json(self) -> str:
        """Return a tokenizer.json that tokenises as this one does, without a length."""
        return self._tokenizer.to_json()

    def _fit(self, text: str, template: str, truncation: Truncation, row: list[int] | None) -> tuple[list[int], int]:
        """Return the ids of a long text cut to `max_tokens`, and how many it had; `row`: all of them, if known."""
        before, after = self._spell(template).split(TEXT, 1)
        if (
            row is not None
            and truncation in ("end", "error")
            and not after
            and (behind := self._behind(before)) is not None
        ):
            return row[: self.max_tokens - behind] + row[len(row) - behind :], len(row)
        first, *more = split(text)
        left, content, right = self._parts(before, first, "" if more else after)
        if more:
            _, last, right = self._parts("", more[-1], after)
        room = self.max_tokens - len(left) - len(right)
        if room < 1:
            raise InputError(
                f"the prompt {template!r} alone takes {len(left) + len(right)} of {self.max_tokens} tokens"
            )
        total = len(content)
        if more:
            inner = (self._tokenizer.ids([piece], add_special_tokens=False)[0] for piece in more[:-1])
            for ids in itertools.chain(inner, [last]):
                content, total = keep_ends(content + ids, room), total + len(ids)
        return left + truncate(content, room, truncation) + right, total + len(left) + len(right)

    def _behind(self, before: str) -> int | None:
        """Count the special tokens behind a text that ends its template; None where the prompt may leave no room."""
        text, (whole,) = PROBES[0], self._tokenizer.ids(PROBES[:1])
        (alone,) = self._tokenizer.ids([text], add_special_tokens=False)
        (prompt,) = self._tokenizer.ids([before])
        starts = [n for n in range(len(whole)) if whole[n : n + len(alone)] == alone]
        return len(whole) - starts[0] - len(alone) if alone and starts and len(prompt) + 1 < self.max_tokens else None

    def _parts(self, before: str, text: str, after: str) -> tuple[list[int], list[int], list[int]]:
        """Return the ids of what stands before a text, its own, and those of what stands after it.

        A token that straddles the border between prompt and text (byte-level BPE joins a space to the next word) is the
        text's. Special tokens that the tokenizer adds belong to the template.
        """
        encoding = self._tokenizer.encode(before + text + after)
        start, stop = len(before), len(before) + len(text)
        tokens = (encoding.char_to_token(at) for at in range(start, stop))
        first = next((token for token in tokens if token is not None), None)
        if first is None:  # blanks and control characters may be no tokens at all
            end = common_prefix(encoding.ids, self._opening(before + TEXT + after))
            return encoding.ids[:end], [], encoding.ids[end:]
        tokens = (encoding.char_to_token(at) for at in range(stop - 1, start - 1, -1))
        end = next(token for token in tokens if token is not None) + 1
        while end < len(encoding) and (span := encoding.token_to_chars(end)) and span[0] < stop:
            end += 1  # one character may be several byte tokens
        return encoding.ids[:first], encoding.ids[first:end], encoding.ids[end:]

    def _opening(self, spelled: str) -> list[int]:
        """Return the ids before the text of a template that no text changes."""
        one, other = self._tokenizer.ids([spelled.replace(TEXT, probe) for probe in PROBES])
        return one[: common_prefix(one, other)]


def fit_rows(
    rows: Iterable[list[int] | None],
    fit: Callable[[int, list[int] | None], tuple[list[int], int]],
    max_tokens: int,
    truncation: Truncation,
    first: int,
) -> Tokenized:
    """Fit each text's ids to a length; `fit(n, row)` gives the cut ids and their former number if `row` is too long.

    A row is None where the text was too long to be tokenised whole. Raises InputError when `truncation` is "error".
    """
    ids: list[Ids] = []
    counts: list[TokenCount] = []
    for n, row in enumerate(rows):
        if row is None or len(row) > max_tokens:
            row, total = fit(n, row)
            if truncation == "error" and total > max_tokens:
                raise InputError(
                    f"input {first + n} has {total} tokens, the limit is {max_tokens}: shorten it, or pass "
                    "truncation='end', 'start' or 'middle'"
                )
        else:
            total = len(row)
        ids.append(as_ids(row))
        counts.append(TokenCount(total, total - len(row)))
    return Tokenized(ids, counts)


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the equal ids at the beginning of both."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def single_id(ids: Sequence[int], token: str) -> int:
    """Return the one id that a token is; raise UnsupportedModelError when it is split, or unknown."""
    if len(ids) != 1:
        raise UnsupportedModelError(
            f"the tokenizer makes {len(ids)} tokens of {token!r}, which stands for an image: it belongs to a model of "
            "texts alone"
        )
    return int(ids[0])


def split(text: str) -> list[str]:
    """Cut a long text into pieces before a space inside it, where tokens end anyway.

    Without such a space a piece is cut hard: then the count may be off by a token a piece, and never the kept end.
    """
    pieces = []
    start = 0
    while len(text) - start > PIECE:
        stop = text.rfind(" ", start + PIECE // 2, start + PIECE)
        while stop > 0 and (text[stop - 1].isspace() or text[stop + 1].isspace()):
            stop = text.rfind(" ", start + PIECE // 2, stop)
        stop = stop if stop > start else start + PIECE
        pieces.append(text[start:stop])
        start = stop
    return [*pieces, text[start:]]
