"""A Unigram tokenizer (Kudo 2018, arXiv 1804.10959), as of XLM-RoBERTa -> llama.cpp's `t5`: pieces with scores.

llama.cpp does all that stands before the pieces by itself: it replaces what SentencePiece's charsmap replaces, longest
first, marks where words begin, and joins several spaces or not.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from edge_embed.errors import CorruptModelError

from .names import Value
from .refusal import refuse

SPACE = "\u2581"
SPACES = (" {2,}", "  +", r"\s{2,}")  # regular expressions of several spaces, which one replaces
ABSENT = -10000.0  # the score of a row that is no piece, as llama.cpp's converter has it


def unigram(data: Mapping[str, Any], rows: int) -> dict[str, Value]:
    """Return the keys of the kind, scores for each of the table's rows among them.

    Raises UnsupportedModelError for what llama.cpp does not do before it looks for pieces.
    """
    model = data["model"]
    if model.get("byte_fallback"):
        refuse("Unigram with byte_fallback=True", "Unigram without it")
    prefix, splits = _beginning(data.get("pre_tokenizer"))
    charsmap, joins = _normalizer(data.get("normalizer"))
    joins = joins or splits
    if joins and not prefix:
        refuse(f"pre-tokenizer {json.dumps(data.get('pre_tokenizer'))}", "words that all begin with a space")
    scores = [float(score) for _, score in model["vocab"]]
    keys: dict[str, Value] = {
        "model": "t5",
        "pre": "default",
        "scores": [*scores, *[ABSENT] * (rows - len(scores))],
        "add_space_prefix": prefix,
        "remove_extra_whitespaces": joins,
    }
    return keys | ({"precompiled_charsmap": charsmap} if charsmap else {})


def keeps_last_space(data: Mapping[str, Any]) -> bool:
    """Whether a space at the end of a text is a token of its own: of Unigram, where nothing strips it."""
    kinds = [part["type"] for part in _parts(data.get("normalizer"), "normalizers")]
    splits = _parts(data.get("pre_tokenizer"), "pretokenizers")
    return data["model"]["type"] == "Unigram" and "Strip" not in kinds and len(splits) < 2


def _beginning(pre_tokenizer: Mapping[str, Any] | None) -> tuple[bool, bool]:
    """Return whether a text's first word is marked as one, and whether words are split at any white space."""
    parts = _parts(pre_tokenizer, "pretokenizers")
    kinds = [part["type"] for part in parts]
    last = parts[-1] if parts else {}
    if kinds not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]) or last.get("replacement") != SPACE:
        refuse(
            f"pre-tokenizer {json.dumps(pre_tokenizer)} before Unigram",
            "'Metaspace' with and without 'WhitespaceSplit'",
        )
    scheme = last.get("prepend_scheme", "always" if last.get("add_prefix_space", True) else "never")
    return scheme != "never", len(kinds) > 1


def _normalizer(normalizer: Mapping[str, Any] | None) -> tuple[bytes, bool]:
    """Return SentencePiece's charsmap, empty if there is none, and whether several spaces are joined."""
    charsmap, joins = b"", False
    for n, part in enumerate(_parts(normalizer, "normalizers")):
        if part["type"] == "Precompiled" and n == 0:
            charsmap = _decoded(part.get("precompiled_charsmap"))
        elif part["type"] == "Replace" and part.get("pattern", {}).get("Regex") in SPACES:
            joins = True
        elif part["type"] != "Strip" or part.get("strip_left"):
            refuse(
                f"normalizer {json.dumps({**part, 'precompiled_charsmap': '...'} if n else part):.200} before Unigram",
                "'Precompiled' and what joins spaces",
            )
    return charsmap, joins


def _parts(whole: Mapping[str, Any] | None, inside: str) -> list[Mapping[str, Any]]:
    """List the parts of a sequence, or the one part."""
    if not whole:
        return []
    return list(whole[inside]) if whole["type"] == "Sequence" else [whole]


def _decoded(charsmap: object) -> bytes:
    try:
        return base64.b64decode(charsmap if isinstance(charsmap, str) else "", validate=True)
    except binascii.Error as error:
        raise CorruptModelError(f"tokenizer.json: precompiled_charsmap is no base64: {error}; get it again") from error
