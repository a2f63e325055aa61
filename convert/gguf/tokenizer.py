"""llama.cpp's vocabulary in a GGUF file -> the text of a tokenizer.json, the way back of vocabulary.py.

What llama.cpp calls by a name is spelled out; what it does by itself becomes a normalizer. That the ids are llama.cpp's
is checked on texts, in token_ids.py: a vocabulary of which that is not so is refused.
"""

from __future__ import annotations

import base64
import importlib
import json
from typing import Any

from edge_embed.backends.gguf.checks import check_vocabulary
from edge_embed.errors import CorruptModelError, MissingDependencyError, UnsupportedModelError, listing
from edge_embed.formats.gguf import Header, read_numbers, read_strings
from edge_embed.layouts.folder import TOKENIZER
from edge_embed.pipeline.guarded import GuardedTokenizer
from edge_embed.remedies.installing import install_extra

from .unigram import SPACE
from .vocabulary import PRE, STRIPPING
from .words import BESIDE, KEYS, Words

# Names of llama.cpp that split and merge as another of its own does.
ALIASES = {
    **dict.fromkeys(("llama3", "llama-v3", "jina-v5-nano"), "llama-bpe"),
    **dict.fromkeys(("roberta-bpe", "jina-v1-en", *STRIPPING.values()), "gpt-2"),
    **dict.fromkeys(("jina-v2-es", "jina-v2-de", "jina-es", "jina-de", "modern-bert", "phi-2"), "gpt-2"),
}
# Those whose models put texts in NFC before, which llama.cpp does not.
COMPOSED = ("modern-bert", "qwen2", "qwen35")


def build_tokenizer(header: Header) -> dict[str, str]:
    """Return the texts of tokenizer.json and tokenizer_config.json, by name.

    Raises UnsupportedModelError where no tokenizer.json gives llama.cpp's ids, CorruptModelError for lists that
    contradict one another, MissingDependencyError without llama.cpp, whose ids they are compared with.
    """
    words = Words(header)
    data = spelled(words)
    text = json.dumps(data, ensure_ascii=False)
    _compare(header, text, data)
    settings = words.settings(header.whole(f"{header.architecture}.context_length"))
    return {TOKENIZER: text, "tokenizer_config.json": json.dumps(settings, indent=2, ensure_ascii=False) + "\n"}


def spelled(words: Words) -> dict[str, Any]:
    """Return what tokenizer.json says; raises as `build_tokenizer`, and compares nothing."""
    header, kind = words.header, words.kind if words.tokens else None
    check_vocabulary(header)
    if kind == "bert":
        made = _wordpiece(words)
    elif kind == "t5":
        made = _unigram(words)
    elif kind == "gpt2":
        made = _byte_pairs(words)
    else:
        raise UnsupportedModelError(
            f"{header.path}: no tokenizer.json can be made of a vocabulary of kind {kind!r}, only of 'bert', 'gpt2' "
            f"and 't5': {BESIDE}"
        )
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": words.added(), **made}


def _compare(header: Header, text: str, data: dict[str, Any]) -> None:
    """Refuse a tokenizer.json that gives other ids than llama.cpp does."""
    try:
        token_ids = importlib.import_module(f"{__package__}.token_ids")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{header.path} brings no tokenizer.json, and one that is made of its vocabulary is compared with what "
            f"llama.cpp makes of it: {error.name} is not installed: {install_extra('convert,gguf')}; or {BESIDE}"
        ) from error
    difference = token_ids.compare(header.path, GuardedTokenizer(header.path, text), data).difference
    if difference:
        raise UnsupportedModelError(
            f"{header.path}: a tokenizer.json made of its vocabulary is not what llama.cpp makes of it: {difference}; "
            f"{BESIDE}"
        )


def _wordpiece(words: Words) -> dict[str, Any]:
    lowercase = words.flag("normalizer.lowercase", True)
    vocabulary = {words.tokens[n]: n for n in words.used()}
    if len(vocabulary) < len(words.used()):
        raise UnsupportedModelError(f"{words.header.path}: two of its tokens are one word in WordPiece: {BESIDE}")
    unknown = words.token_id("unknown")
    return {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": words.flag("normalizer.strip_accents", lowercase),
            "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": words.around("bos", "seperator"),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": words.tokens[unknown] if unknown is not None else "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }


def _unigram(words: Words) -> dict[str, Any]:
    prefix, joins = words.flag("add_space_prefix", False), words.flag("remove_extra_whitespaces", False)
    if joins and not prefix:
        raise UnsupportedModelError(
            f"{words.header.path}: {KEYS}remove_extra_whitespaces without add_space_prefix has no equal in a "
            f"tokenizer.json: {BESIDE}"
        )
    space = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always" if prefix else "never"}
    split = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {**space, "split": True}]}
    scores = words.numbers("scores")
    if not scores:
        raise CorruptModelError(f"{words.header.path} has no {KEYS}scores for its pieces: get another file")
    encoded = base64.b64encode(_charsmap(words.header)).decode()
    first = "bos" if words.flag("add_bos_token", False) else None
    last = "eos" if words.flag("add_eos_token", True) else None
    return {
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": encoded} if encoded else None,
        "pre_tokenizer": split if joins else {**space, "split": prefix},
        "post_processor": words.around(first, last),
        "decoder": {**space, "split": True},
        "model": {
            "type": "Unigram",
            "unk_id": words.token_id("unknown"),
            "vocab": [[words.tokens[n], float(scores[n])] for n in range(max(words.used(), default=-1) + 1)],
            "byte_fallback": False,
        },
    }


def _charsmap(header: Header) -> bytes:
    """Return SentencePiece's map of characters, whose bytes a file may hold with or without a sign."""
    found = read_numbers(header, f"{KEYS}precompiled_charsmap")
    if not all(isinstance(one, int) and -128 <= one < 256 for one in found):
        raise CorruptModelError(f"{header.path}: {KEYS}precompiled_charsmap is not all bytes: get another file")
    return bytes(one & 0xFF for one in found)


def _byte_pairs(words: Words) -> dict[str, Any]:
    name = words.header.text(f"{KEYS}pre") or "default"
    known = {own: split for split, own in PRE.items()}
    split, whole = known.get(ALIASES.get(name, name), (None, False))
    if split is None:
        raise UnsupportedModelError(
            f"{words.header.path}: the pre-tokenizer {name!r} is not implemented; {listing([*known, *ALIASES])} are: "
            f"{BESIDE}"
        )
    bytes_alone = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    first = "bos" if words.flag("add_bos_token", known.get("llama-bpe") == (split, whole)) else None
    last = "eos" if words.flag("add_eos_token", False) else None
    isolated = {"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": False}
    return {
        "normalizer": {"type": "NFC"} if name in COMPOSED else None,
        "pre_tokenizer": {**bytes_alone, "use_regex": True}
        if split == "ByteLevel"
        else {"type": "Sequence", "pretokenizers": [isolated, bytes_alone]},
        "post_processor": words.around(first, last),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": whole,
            "vocab": {words.tokens[n]: n for n in words.used()},
            "merges": _merges(words.header),
        },
    }


def _merges(header: Header) -> list[list[str]]:
    merges = [merge.decode("utf-8", "replace").split(" ") for merge in read_strings(header, f"{KEYS}merges")]
    if odd := next((merge for merge in merges if len(merge) != 2), None):
        raise CorruptModelError(f"{header.path}: {KEYS}merges has {' '.join(odd)!r:.80}, which are no two parts")
    return merges
