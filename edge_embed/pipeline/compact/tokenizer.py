"""A tokenizer whose vocabulary is mapped from the cache; what its tables do not tell has tokenizer.json read whole."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers

from edge_embed.device.pages import trim_heap
from edge_embed.errors import CorruptModelError
from edge_embed.pipeline.guarded import GuardedTokenizer, guarded
from edge_embed.pipeline.special_tokens import HiddenNames, SpecialTokens, source_of

from .bpe import BpeWords, Merges
from .build import build
from .skeleton import open_skeleton
from .store import Vocabulary, place_of, read, write
from .trie import Trie
from .unigram import UnigramWords
from .words import Words

LEAST = 1 << 20  # bytes of a tokenizer.json; a smaller one is read in less time than it takes to look for its tables
PROBES = 64  # texts with which tables are compared, beside each added token


class CompactTokenizer:
    """Gives ids as `GuardedTokenizer` does; `read_whole` opens that, once, for all that tables do not tell."""

    def __init__(self, path: Path, vocabulary: Vocabulary, read_whole: Callable[[], GuardedTokenizer]) -> None:
        self._path, self._read_whole, self._lock = path, read_whole, threading.Lock()
        self._whole: GuardedTokenizer | None = None
        self.size, self._word, self._words = vocabulary.size, vocabulary.word, _words(vocabulary)
        with guarded(f"{path} is not a tokenizer.json"):
            self._skeleton = open_skeleton(vocabulary.skeleton, vocabulary.word)

    def ids(self, texts: Sequence[str], add_special_tokens: bool = True) -> list[list[int]]:
        """Tokenise texts, without places."""
        with guarded(f"{self._path} cannot tokenise {len(texts)} texts"):
            cut = self._skeleton.encode_batch(list(texts), add_special_tokens=add_special_tokens)
        rows = [(encoding.ids, encoding.tokens) for encoding in cut]
        words = {word for ids, tokens in rows for number, word in zip(ids, tokens, strict=True) if number == self._word}
        if any(len(word) > self._words.longest for word in words):
            return self.whole.ids(texts, add_special_tokens)
        pieces = self._words.pieces(sorted(words))
        found = []
        for ids, tokens in rows:
            row: list[int] = []
            for number, word in zip(ids, tokens, strict=True):
                if number == self._word:
                    row += pieces[word]
                else:
                    row.append(number)
            found.append(row)
        return found

    @property
    def whole(self) -> GuardedTokenizer:
        """The tokenizer with its vocabulary in memory."""
        with self._lock:
            if self._whole is None:
                self._whole = self._read_whole()
            return self._whole

    @property
    def unguarded(self) -> tokenizers.Tokenizer:
        """The tokenizer of the library, whose errors are its own."""
        return self.whole.unguarded

    def id_of(self, token: str) -> int | None:
        """Return the id of a token of the vocabulary."""
        return self.whole.id_of(token)

    def encode(self, text: str, add_special_tokens: bool = True) -> tokenizers.Encoding:
        """Tokenise a text, with every token's place in it."""
        return self.whole.encode(text, add_special_tokens)

    def to_json(self) -> str:
        """Return the tokenizer.json that is in use."""
        return self.whole.to_json()


def open_tokenizer(
    path: Path, special_tokens: SpecialTokens, changed: str | None, lower_case: bool, cache: Path | None
) -> tuple[GuardedTokenizer | CompactTokenizer, HiddenNames]:
    """Open a tokenizer.json, and what spells its special tokens in prompts; see `TextTokenizer` for the arguments."""
    large = path.is_file() and path.stat().st_size >= LEAST
    if cache is None or changed is not None or lower_case or not large:
        text, names = source_of(path, special_tokens)
        return GuardedTokenizer(path, changed or text, lower_case), names
    try:
        place = place_of(path, special_tokens, cache)
    except OSError as error:
        raise CorruptModelError(f"{path} cannot be read: {error}; get the model's tokenizer.json again") from error
    if (vocabulary := read(place, cache)) is not None:
        read_whole = partial(_read_whole, path, special_tokens)
        return CompactTokenizer(path, vocabulary, read_whole), HiddenNames(vocabulary.hidden)
    text, names = source_of(path, special_tokens)
    whole = GuardedTokenizer(path, text)
    if (vocabulary := _tables_of(path, whole, names)) is not None:
        write(place, vocabulary)
    trim_heap()  # of what parsing took
    return whole, names


def _read_whole(path: Path, special_tokens: SpecialTokens) -> GuardedTokenizer:
    return GuardedTokenizer(path, source_of(path, special_tokens)[0])


def _tables_of(path: Path, whole: GuardedTokenizer, names: HiddenNames) -> Vocabulary | None:
    """Make the tables of a tokenizer; None where they would not give its ids."""
    try:
        # As `tokenizers` has read it: of some scores in the file it makes the double beside the nearest one.
        data = json.loads(whole.to_json())
        vocabulary = build(data, names.tokens)
        if vocabulary is None:
            return None
        probes = [*_probes(data)]
        same = CompactTokenizer(path, vocabulary, lambda: whole).ids(probes) == whole.ids(probes)
        return vocabulary if same else None
    except (CorruptModelError, OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        return None  # what is unusual in it, `tokenizers` understands


def _words(vocabulary: Vocabulary) -> Words:
    tables = vocabulary.tables
    trie = Trie(tables["edges"], tables["pieces"])
    if vocabulary.kind == "Unigram":
        return UnigramWords(trie, tables["scores"], vocabulary.unknown)
    return BpeWords(trie, Merges(tables["pairs"], tables["ranks"], tables["made"]), vocabulary.whole)


def _probes(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield texts of words and characters of all kinds, and each added token within a text."""
    rng = random.Random(0)
    words = [word if isinstance(word, str) else word[0] for word in data["model"]["vocab"]]  # Unigram has scores beside
    for _ in range(PROBES):
        yield rng.choice((" ", "")).join(rng.choices(words, k=20))
        yield "".join(chr(rng.choice((rng.randrange(32, 0x250), rng.randrange(0x250, 0xD800)))) for _ in range(20))
    for token in data.get("added_tokens") or []:
        yield f"a {token['content']} b"
