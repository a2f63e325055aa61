"""A tokenizer.json -> its tables, where they give the ids that `tokenizers` gives; None where that is not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers

from .bpe import LEFT
from .skeleton import skeleton_of
from .store import Vocabulary
from .trie import build_trie


def build(data: Mapping[str, Any], hidden: Sequence[str] = ()) -> Vocabulary | None:
    """Make the tables of a Unigram or a byte-level BPE vocabulary; None of another, and of one with what they lack."""
    model = data["model"]
    makers = {"Unigram": _unigram, "BPE": _bpe}
    if model.get("type") not in makers or (made := makers[model["type"]](model, data)) is None:
        return None
    ids, tables = made
    skeleton, word = skeleton_of(data)
    added = [token["id"] for token in data.get("added_tokens") or []]
    return Vocabulary(
        kind=model["type"],
        skeleton=skeleton,
        word=word,
        size=1 + max([*ids, *added], default=-1),
        tables=tables,
        hidden=tuple(hidden),
        unknown=model.get("unk_id") or 0,
        whole=bool(model.get("ignore_merges")),
    )


def _unigram(model: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[Sequence[int], dict[str, Any]] | None:
    words, scores = [word for word, _ in model["vocab"]], np.array([score for _, score in model["vocab"]], np.float64)
    unknown = model.get("unk_id")
    if model.get("byte_fallback") or not isinstance(unknown, int) or not np.isfinite(scores).all():
        return None
    if sum(words[unknown] in word for word in words) > 1:  # a run of unknown characters might be a piece
        return None
    trie = build_trie(words, range(len(words)))
    return range(len(words)), {"edges": trie.edges, "pieces": trie.pieces, "scores": scores}


def _bpe(model: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[Sequence[int], dict[str, Any]] | None:
    words: dict[str, int] = model["vocab"]
    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    if not _ends_in_bytes(data.get("pre_tokenizer")) or not words.keys() >= set(letters):
        return None
    unusual = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    if any(model.get(name) for name in unusual) or len({*words.values()}) < len(words) or not model["merges"]:
        return None
    merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    left = np.array([words[one] for one, _ in merges], np.int64)
    right = np.array([words[other] for _, other in merges], np.int64)
    made = np.array([words[one + other] for one, other in merges], np.int64)
    pairs, last = np.unique((left << LEFT | right)[::-1], return_index=True)  # of a pair that comes twice the last rank
    ranks = len(merges) - 1 - last
    trie = build_trie([*words], [*words.values()])
    tables = {"pairs": pairs, "ranks": ranks.astype(np.int32), "made": made[ranks].astype(np.int32)}
    return [*words.values()], {"edges": trie.edges, "pieces": trie.pieces, **tables}


def _ends_in_bytes(step: Any) -> bool:
    """Whether what cuts texts into words spells them in letters that stand for bytes, last of all."""
    if not isinstance(step, Mapping):
        return False
    if step.get("type") == "Sequence":
        return _ends_in_bytes((step.get("pretokenizers") or [None])[-1])
    return step.get("type") == "ByteLevel"
