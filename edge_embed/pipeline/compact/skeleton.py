"""A tokenizer.json without its vocabulary: it makes one token, with the same id, of every word that is to be split.

What surrounds the model stays `tokenizers`' own: normalising, added tokens, cutting into words, special tokens around.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import tokenizers


def skeleton_of(data: Mapping[str, Any]) -> tuple[str, int]:
    """Return the text of a tokenizer.json whose model has nothing but the added tokens, and an id that none of it has.

    Raises KeyError, TypeError or AttributeError for a file that is none.
    """
    added = {token["content"]: token["id"] for token in data.get("added_tokens") or []}
    taken = {*added.values(), *_numbers(data.get("post_processor"))}
    word = next(n for n in range(len(taken) + 1) if n not in taken)
    model = {"type": "WordLevel", "vocab": added, "unk_token": ""}
    return json.dumps({**data, "model": model, "padding": None, "truncation": None}), word


def open_skeleton(text: str, word: int) -> tokenizers.Tokenizer:
    """Open such a text; a word that is to be split becomes the token `word`, and is its name as well."""
    made = tokenizers.Tokenizer.from_str(text)
    # A vocabulary of empty pieces splits nothing: every word is unknown to it as a whole. The added tokens keep the ids
    # that they had when they were added.
    made.model = tokenizers.models.Unigram([("", 0.0)] * (word + 1), word, False)
    return made


def _numbers(value: object) -> Iterator[int]:
    """Yield the whole numbers anywhere in a value."""
    if isinstance(value, Mapping):
        value = [*value.values()]
    if isinstance(value, list):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, int):
        yield value
