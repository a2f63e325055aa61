"""Whether llama.cpp's own tokenizer gives the ids that tokenizer.json gives; llama-server has no other.

Where it is known not to, no file can help, and the texts are left out of the comparison: it does not put text in NFC;
where accents are stripped it drops vowel signs as well (Hindi, Tamil, Korean); WordPiece words have no greatest length;
SentencePiece's BPE marks the beginning of a text that begins with a space or follows a special token, which Metaspace
does not; spaces before ModernBERT's mask are tokens.
The space that ends a text is a token for multilingual-e5's tokenizer.json and not for llama.cpp, nor for SentencePiece
itself: there texts are compared without it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_embed.backends.gguf.model import Vocabulary
from edge_embed.errors import VerificationError
from edge_embed.formats.json_file import read_object
from edge_embed.pipeline.guarded import GuardedTokenizer

from ..verification.probes import LONGEST, probes
from .sentencepiece_bpe import written
from .unigram import keeps_last_space

HANGUL_VOWELS = "".join(map(chr, range(0x1160, 0x1200)))
HARD = (
    *(" ", "  two  spaces ", "\ttab\n\nlines\r\n", "no\u00a0break", "I'LL don't it's WE'VE", "1234567 12,345.67 x2"),
    *(
        "naïve café résumé ÅNGSTRÖM ß",
        "日本語のテキスト 中文。",
        "한국어 문장",
        "नमस्ते दुनिया",
        "ไทยไม่มีช่องว่าง",
        "שלום עולם مرحبا",
    ),
    *("👩‍👩‍👧‍👦 emoji 🇩🇪 ❤️", "x²+y³≈½ €5 → ±", "https://example.org/a_b?c=d&e=%20#f", "def f(x): return x**2  # {}"),
    *("long " * 2000, "word" * 20, "ﬁ ligature ŀ ǅ"),
)


@dataclass(frozen=True)
class Comparison:
    """How many texts were compared, how many left out, and how the first that differs does; None where none does."""

    texts: int
    left_out: int
    difference: str | None


def check_ids(model: Path, tokenizer: Path) -> tuple[int, int]:
    """Compare the ids of many texts, special tokens inside among them -> how many texts, how many were left out.

    Raises VerificationError with the first text whose ids differ.
    """
    found = compare(model, GuardedTokenizer(tokenizer), read_object(tokenizer))
    if found.difference:
        raise VerificationError(f"GGUF was not kept: {found.difference}")
    return found.texts, found.left_out


def compare(model: Path, exact: GuardedTokenizer, data: Mapping[str, Any]) -> Comparison:
    """Compare llama.cpp's ids by a model's vocabulary with a tokenizer's; `data` is what its tokenizer.json says."""
    vocabulary = Vocabulary(model)
    added = [token for token in data.get("added_tokens", []) if token["id"] < vocabulary.size]
    special = [written(token, data["model"]) for token in added]
    all_texts = [*probes(LONGEST), *HARD, *(f"before {token} after{token}" for token in special)]
    if keeps_last_space(data):
        last = re.compile(rf"\s+(?={'|'.join(map(re.escape, special))}|\Z)")
        all_texts = [last.sub("", text) for text in all_texts]
    texts = [text for text in all_texts if _same_in_llama(text, data)]
    try:
        found = [vocabulary.encode(text) for text in texts]
    finally:
        vocabulary.close()
    wrong = (
        _difference(text, ids, expected.ids)
        for text, ids, expected in zip(texts, found, exact.encode_batch_fast(texts), strict=True)
        if ids != expected.ids
    )
    return Comparison(len(texts), len(all_texts) - len(texts), next(wrong, None))


def _same_in_llama(text: str, data: Mapping[str, Any]) -> bool:
    """Whether llama.cpp can be expected to split a text as tokenizer.json (`data`) does."""
    normalizer, pre_tokenizer = data.get("normalizer") or {}, data.get("pre_tokenizer") or {}
    if data["model"].get("byte_fallback") and pre_tokenizer.get("prepend_scheme", "never") != "never":
        special = any(token["content"] in text for token in data.get("added_tokens", []))
        return not text.startswith(" ") and not special
    if " [MASK]" in text and any(t["content"] == "[MASK]" and t.get("lstrip") for t in data.get("added_tokens", [])):
        return False
    if normalizer.get("type") == "NFC":
        return unicodedata.is_normalized("NFC", text)
    if normalizer.get("type") != "BertNormalizer":
        return True
    if max(map(len, text.split()), default=0) > data["model"].get("max_input_chars_per_word", 100):
        return False
    strips = normalizer.get("strip_accents")
    if not (normalizer["lowercase"] if strips is None else strips):
        return True
    parts = unicodedata.normalize("NFD", text)
    return not any(unicodedata.category(c) in ("Mc", "Me") or c in HANGUL_VOWELS for c in parts)


def _difference(text: str, ids: list[int], expected: list[int]) -> str:
    at = next((n for n, (a, b) in enumerate(zip(ids, expected, strict=False)) if a != b), min(len(ids), len(expected)))
    return (
        f"llama.cpp's tokenizer gives other ids for {text[:60]!r}: from token {at} on "
        f"{ids[at : at + 5]}, tokenizer.json gives {expected[at : at + 5]}"
    )
