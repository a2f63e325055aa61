"""The one place that opens and runs `tokenizers`: whatever its Rust code raises becomes an error of ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from edge_embed.device.pages import trim_heap
from edge_embed.errors import CorruptModelError

from .closing_token import with_closing_token

OURS_TO_PASS = (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)


class GuardedTokenizer:
    """A tokenizer.json, without padding and truncation; every call raises CorruptModelError where it fails.

    `changed` is what to read in place of the file's own text, to which the closing token is added that it may lack;
    with `lower_case` texts are lowered first.
    """

    def __init__(self, path: Path, changed: str | None = None, lower_case: bool = False) -> None:
        self._path = path
        changed = with_closing_token(path) if changed is None else changed
        with guarded(f"{path} is not a tokenizer.json"):
            read = tokenizers.Tokenizer
            self._tokenizer = read.from_file(str(path)) if changed is None else read.from_str(changed)
            # Some files have a fixed padding and a length baked in (all-MiniLM-L6-v2: 128); ours is the spec's.
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
            if lower_case:
                known = self._tokenizer.normalizer
                steps = [tokenizers.normalizers.Lowercase(), *([] if known is None else [known])]
                self._tokenizer.normalizer = tokenizers.normalizers.Sequence(steps)
        trim_heap()  # of what parsing took, a large vocabulary leaves twice as much as it keeps

    @property
    def unguarded(self) -> tokenizers.Tokenizer:
        """The tokenizer as it is, whose errors are its own."""
        return self._tokenizer

    @cached_property
    def size(self) -> int:
        """One more than the largest id."""
        with guarded(f"{self._path} has no vocabulary"):
            return 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)

    def id_of(self, token: str) -> int | None:
        """Return the id of a token of the vocabulary."""
        with guarded(f"{self._path} has no vocabulary"):
            return self._tokenizer.token_to_id(token)

    def encode(self, text: str, add_special_tokens: bool = True) -> tokenizers.Encoding:
        """Tokenise a text, with every token's place in it."""
        with guarded(f"{self._path} cannot tokenise {text!r:.40}"):
            return self._tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def encode_batch_fast(self, texts: Sequence[str], add_special_tokens: bool = True) -> list[tokenizers.Encoding]:
        """Tokenise texts, without places."""
        with guarded(f"{self._path} cannot tokenise {len(texts)} texts"):
            return self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)

    def ids(self, texts: Sequence[str], add_special_tokens: bool = True) -> list[list[int]]:
        """Tokenise texts, without places, to ids alone."""
        return [encoding.ids for encoding in self.encode_batch_fast(texts, add_special_tokens)]

    def to_json(self) -> str:
        """Return the tokenizer.json that is in use, with what was changed of it."""
        with guarded(f"{self._path} cannot be written again"):
            return self._tokenizer.to_str()


def as_ids(row: Sequence[int]) -> NDArray[np.int32]:
    """Return ids as every backend takes them; raise CorruptModelError for one that no model has."""
    try:
        return np.array(row, np.int32)
    except OverflowError as error:
        raise CorruptModelError(f"tokenizer.json gives the id {max(row):,}, beyond any model; get it again") from error


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Raise CorruptModelError, which says what failed, for whatever the block's calls of `tokenizers` raise."""
    try:
        yield
    except OURS_TO_PASS:
        raise
    # tokenizers raises bare Exception for a file that it cannot read, and pyo3's PanicException, a BaseException, where
    # its Rust code panics
    except BaseException as error:
        raise CorruptModelError(f"{what}: {error}; get the model's tokenizer.json again") from error
