"""tokenizer.json -> llama.cpp's vocabulary: tokens, merges, the pre-tokenizer's name, what is put around a text.

llama.cpp does not read tokenizer.json; it has tokenizers of its own, chosen by name. What they cannot do is refused
here; that they then give the same ids is checked on texts, in gguf_ids.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

from edge_embed.errors import CorruptModelError, listing
from edge_embed.formats.json_file import read_object
from edge_embed.pipeline.guarded import GuardedTokenizer

from .names import Value
from .refusal import refuse
from .sentencepiece_bpe import BYTE, sentencepiece_bpe, written
from .unigram import unigram

CASES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
ENDS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
LETTERS, SIGNS = r"[^\r\n\p{L}\p{N}]?\p{L}+", r" ?[^\s\p{L}\p{N}]+[\r\n]*"
MARKED, SIGNS_UNMARKED = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+", r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
# (what splits the text, whether whole words win over merges) -> the name of llama.cpp's pre-tokenizer
PRE: dict[tuple[str, bool], str] = {
    (rf"{CASES}|{LETTERS}|\p{{N}}{{1,3}}|{SIGNS}|{ENDS}", True): "llama-bpe",  # jina-v5-nano is another name for it
    (rf"{CASES}|{LETTERS}|\p{{N}}{{1,3}}|{SIGNS}|{ENDS}", False): "smaug-bpe",
    (rf"{CASES}|{LETTERS}|\p{{N}}|{SIGNS}|{ENDS}", False): "qwen2",
    (rf"{CASES}|{MARKED}|\p{{N}}|{SIGNS_UNMARKED}|{ENDS}", False): "qwen35",
    ("ByteLevel", False): "gpt-2",
}
# Other names of "gpt-2" by the token to which spaces before it belong: RoBERTa's mask, and ModernBERT's, for which
# llama.cpp has that only where the model's name has "modern-bert" in it.
STRIPPING = {"<mask>": "jina-v2-code", "[MASK]": "modern-bert"}
PHANTOM = "\u2581"  # llama.cpp marks the beginning of a word where WordPiece marks its continuation


def vocabulary(path: Path, config: Mapping[str, Any]) -> dict[str, Value]:
    """Return the keys `tokenizer.ggml.*`; tokens are filled up to the rows of the embedding table.

    Raises UnsupportedModelError for a tokenizer that llama.cpp has no equal of, with what it is that differs.
    """
    data = read_object(path)
    kind = data["model"].get("type")
    if kind == "BPE":
        falls_back = data["model"].get("byte_fallback")
        keys = sentencepiece_bpe(data, config["vocab_size"]) if falls_back else _bpe(data)
    elif kind == "WordPiece":
        keys = _wordpiece(data)
    elif kind == "Unigram":
        keys = unigram(data, config["vocab_size"])
    else:
        refuse(f"model {kind!r}", "'BPE', 'Unigram' and 'WordPiece'")
    if kind == "WordPiece" or "type_vocab_size" in config:
        keys["token_type_count"] = config.get("type_vocab_size") or 1  # llama.cpp takes 0 for a file that lacks them
    tokens, types = _tokens(data, config["vocab_size"])
    keys |= {"tokens": tokens, "token_type": [int(t) for t in types], **_special(config, data), **_around(path, kind)}
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items()}


def _bpe(data: Mapping[str, Any]) -> dict[str, Value]:
    model, normalizer = data["model"], data.get("normalizer")
    if normalizer is not None and normalizer["type"] != "NFC":
        refuse(f"normalizer {normalizer['type']!r} before BPE", "none and 'NFC'")
    for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(key):
            refuse(f"BPE with {key}={model[key]!r}", "byte-level BPE without it")
    split, whole_words = _split(data.get("pre_tokenizer")), bool(model.get("ignore_merges"))
    if (split, whole_words) not in PRE:
        refuse(f"pre-tokenizer {split!r} with ignore_merges={whole_words}", f"those of {listing(PRE.values())}")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    pre = PRE[split, whole_words]
    stripping = [token["content"] for token in data.get("added_tokens", []) if token.get("lstrip")]
    if pre == "gpt-2" and len(stripping) == 1:
        pre = STRIPPING.get(stripping[0], pre)
    return {"model": "gpt2", "pre": pre, "merges": merges}


def _split(pre_tokenizer: Mapping[str, Any] | None) -> str:
    """Return the regular expression that splits texts, "ByteLevel" for GPT-2's, or a description of what is neither."""
    parts = [pre_tokenizer] if pre_tokenizer else []
    if parts and parts[0]["type"] == "Sequence":
        parts = parts[0]["pretokenizers"]
    kinds = [part["type"] for part in parts]
    if kinds[-1:] == ["ByteLevel"] and not parts[-1].get("add_prefix_space"):
        own = parts[-1].get("use_regex", True)
        if kinds == ["ByteLevel"] and own:
            return "ByteLevel"
        if kinds == ["Split", "ByteLevel"] and not own:
            pattern, how = parts[0]["pattern"].get("Regex", ""), parts[0]["behavior"]
            if pattern and how == "Isolated" and not parts[0].get("invert"):
                return str(pattern)
    return json.dumps(pre_tokenizer)


def _wordpiece(data: Mapping[str, Any]) -> dict[str, Value]:
    model, normalizer = data["model"], data.get("normalizer") or {}
    if model.get("continuing_subword_prefix", "##") != "##":
        refuse(f"WordPiece with continuing_subword_prefix={model['continuing_subword_prefix']!r}", "'##'")
    if (data.get("pre_tokenizer") or {}).get("type") != "BertPreTokenizer":
        refuse(f"pre-tokenizer {json.dumps(data.get('pre_tokenizer'))} before WordPiece", "'BertPreTokenizer'")
    whole = normalizer.get("clean_text"), normalizer.get("handle_chinese_chars")
    if normalizer.get("type") != "BertNormalizer" or whole != (True, True):
        refuse(
            f"normalizer {json.dumps(normalizer)} before WordPiece",
            "'BertNormalizer' with clean_text and handle_chinese_chars",
        )
    lowercase, strip = bool(normalizer["lowercase"]), normalizer.get("strip_accents")
    return {
        "model": "bert",
        "pre": "default",
        "normalizer.lowercase": lowercase,
        "normalizer.strip_accents": lowercase if strip is None else bool(strip),
    }


def _tokens(data: Mapping[str, Any], rows: int) -> tuple[list[str], list[gguf.TokenType]]:
    """Return each row's token and type; rows without a token get a name of their own, which no text contains."""
    words, pieces = _words(data["model"]), data["model"]["type"] == "WordPiece"
    falls_back = data["model"].get("byte_fallback")
    added = {token["id"]: token for token in data.get("added_tokens", []) if token["id"] < rows}
    last = max([*words, *added])
    if last >= rows:
        raise CorruptModelError(f"tokenizer.json has token {last}, config.json says vocab_size={rows}")
    tokens = [f"[PAD{n}]" for n in range(rows)]
    types = [gguf.TokenType.UNUSED] * rows
    for n, word in words.items():
        tokens[n] = (word[2:] if word.startswith("##") else PHANTOM + word) if pieces else word
        types[n] = gguf.TokenType.NORMAL
        if falls_back and BYTE.fullmatch(word):
            types[n] = gguf.TokenType.BYTE
    for n, token in added.items():
        tokens[n] = written(token, data["model"])
        types[n] = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
    if data["model"]["type"] == "Unigram" and (unknown := data["model"].get("unk_id")) is not None:
        types[unknown] = gguf.TokenType.UNKNOWN
    if len(set(tokens)) != rows:  # llama.cpp would end the process
        twice = {token for token in tokens if tokens.count(token) > 1} if rows < 1 << 20 else set()
        raise CorruptModelError(f"tokenizer.json gives several ids to one token: {listing(list(twice)[:5])}")
    return tokens, types


def _words(model: Mapping[str, Any]) -> dict[int, str]:
    """Return the model's own tokens by id: Unigram lists them with scores."""
    if model["type"] == "Unigram":
        return {n: piece for n, (piece, _) in enumerate(model["vocab"])}
    return {n: word for word, n in model["vocab"].items()}


def _around(path: Path, kind: str) -> dict[str, Value]:
    """Find out what the post-processor puts before and after a text, by having it done."""
    tokenizer = GuardedTokenizer(path)
    whole, bare = tokenizer.encode("a").ids, tokenizer.encode("a", add_special_tokens=False).ids
    at = next((n for n in range(len(whole)) if whole[n : n + len(bare)] == bare), None)
    if at is None or at > 1 or len(whole) - len(bare) - at > 1:
        refuse(f"a post-processor that makes {whole} of {bare}", "one token before a text and one after it")
    first, last = whole[: at or 0], whole[(at or 0) + len(bare) :]
    if kind == "WordPiece" and not (first and last):
        refuse(f"a post-processor that makes {whole} of {bare}", "WordPiece with a token at both ends")
    keys: dict[str, Value] = {"add_bos_token": bool(first), "add_eos_token": bool(last), "add_sep_token": False}
    if kind == "WordPiece":
        keys |= {"add_sep_token": True, "add_eos_token": False, "seperator_token_id": last[0]}
    elif last:
        keys["eos_token_id"] = last[0]
        if kind == "Unigram":
            keys["seperator_token_id"] = last[0]
    return keys | ({"bos_token_id": first[0]} if first else {})


def _special(config: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Value]:
    """Return the ids of tokens with a meaning, where the files name them."""
    ids = {to: config.get(f"{name}_token_id") for to, name in (("bos", "bos"), ("eos", "eos"), ("padding", "pad"))}
    model = data["model"]
    ids["unknown"] = model.get("unk_id") if model["type"] == "Unigram" else model["vocab"].get(model.get("unk_token"))
    return {f"{to}_token_id": n for to, n in ids.items() if isinstance(n, int) and 0 <= n < config["vocab_size"]}
