"""SentencePiece's BPE (Kudo & Richardson 2018, arXiv 1808.06226) in a tokenizer.json, as of Llama 2, Mistral and Gemma.

In llama.cpp it is `llama`: pieces with scores, of which any two neighbours merge whose whole is a piece, the best
first. tokenizer.json ranks the merges instead, so that a piece has the score of its first merge, and every merge that
scores allow must be there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .names import Value
from .refusal import refuse

SPACE = "\u2581"
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
REPLACES = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
PREPENDS = {"type": "Prepend", "prepend": SPACE}


def sentencepiece_bpe(data: Mapping[str, Any], rows: int) -> dict[str, Value]:
    """Return the keys of the kind, scores for each of the table's rows among them.

    Raises UnsupportedModelError for what llama.cpp does not do, or not so.
    """
    model = data["model"]
    for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "ignore_merges"):
        if model.get(key):
            refuse(f"BPE of bytes that fall back with {key}={model[key]!r}", "it without")
    prefix = _prefix(data, model["vocab"])
    if missing := next(
        (n for n in range(256) if not {f"<0x{n:02X}>", chr(n) if n < 128 else ""} & model["vocab"].keys()), None
    ):
        refuse(f"BPE with byte_fallback=True and no token <0x{missing:02X}>", "it with 256 of them")
    merges = [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    _check_whole(model["vocab"], set(merges))
    return {
        "model": "llama",
        "pre": "default",
        "scores": _scores(model["vocab"], merges, rows),
        "add_space_prefix": prefix,
    }


def written(token: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Return an added token as llama.cpp must have it, which looks for it before spaces become pieces' signs.

    So does tokenizers, but for a token that is `normalized`.
    """
    text: str = token["content"]
    return text.replace(SPACE, " ") if model.get("byte_fallback") and token.get("normalized") else text


def _prefix(data: Mapping[str, Any], vocab: Mapping[str, int]) -> bool:
    """Return whether a text begins with a space that it does not have; refuse what splits or changes texts."""
    normalizer: Mapping[str, Any] = data.get("normalizer") or {}
    pre_tokenizer: Mapping[str, Any] = data.get("pre_tokenizer") or {}
    steps = normalizer["normalizers"] if normalizer.get("type") == "Sequence" else [normalizer]
    kind = pre_tokenizer.get("type")
    if steps in ([REPLACES], [PREPENDS, REPLACES]):
        if kind in (None, "Split") and pre_tokenizer.get("pattern") in (None, {"String": " "}):  # of which none is left
            return len(steps) > 1
    elif steps == [{}] and kind == "Metaspace" and pre_tokenizer.get("replacement") == SPACE:
        crossing = pre_tokenizer.get("split", True) and any(SPACE in word[1:] for word in vocab)
        if not crossing:
            return bool(pre_tokenizer.get("prepend_scheme", "always") != "never")
    refuse(
        f"normalizer {json.dumps(normalizer):.200} with pre-tokenizer {json.dumps(pre_tokenizer):.200} before BPE of "
        "bytes that fall back",
        f"spaces that become {SPACE!r}, one more before a text or not, and no split",
    )


def _scores(vocab: Mapping[str, int], merges: list[tuple[str, ...]], rows: int) -> list[float]:
    """Return the score of each row: less for each piece that is made after another, least for what no merge makes."""
    order = {vocab[left + right]: None for left, right in merges}
    scores = [-float(len(order))] * rows
    for rank, piece in enumerate(order):
        scores[piece] = -float(rank)
    return scores


def _check_whole(vocab: Mapping[str, int], merges: set[tuple[str, ...]]) -> None:
    """Refuse a vocabulary in which two neighbours make a piece and are no merge: llama.cpp would merge them."""
    for pair in _pairs(vocab):
        if pair not in merges:
            refuse(
                f"BPE in which {pair[0]!r} and {pair[1]!r} do not merge although {''.join(pair)!r} is a token",
                "merges of all such",
            )


def _pairs(vocab: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """List what may stand side by side and makes a token: characters, whether they are tokens or not, and tokens."""
    for word in vocab:
        if not BYTE.fullmatch(word):
            for n in range(1, len(word)):
                left, right = word[:n], word[n:]
                if (n == 1 or left in vocab) and (n == len(word) - 1 or right in vocab):
                    yield left, right
