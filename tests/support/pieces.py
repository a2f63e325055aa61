"""Tokenizers of RoBERTa's kind, small: bytes that were never merged, and pieces with scores, of XLM-RoBERTa's ids."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from .charsmap import charsmap

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
SPACE = "\u2581"
FOLDED = {
    "\t": " ",
    "\n": " ",
    "\r": " ",
    "\u3000": " ",
    "\u00a0": " ",
    "ﬁ": "fi",
    "²": "2",
    "e\u0301": "é",
    "\u0085": "",
}
WHOLE = ["the", "hello", "word", "world", "quick", "fox", "and", "中文", "한국어"]
PARTS = ["er", "in", "on", "qu", "th", "ing", "日本", "шла", "नम", "ते"]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?!'-:éüñабвгдежзи中文日本語한국어नमस"
PIECES = [SPACE, *(SPACE + word for word in WHOLE), *PARTS, *LETTERS, *(SPACE + letter for letter in LETTERS[:36])]


def unigram(splits: bool = True) -> Tokenizer:
    """Build a tokenizer of pieces as XLM-RoBERTa's is, or multilingual-e5's, which keeps a space at the end.

    `<mask>` is its last token.
    """
    scored = [(piece, -2.0 - 0.037 * n) for n, piece in enumerate(dict.fromkeys(PIECES))]
    made = Tokenizer(models.Unigram([*((token, 0.0) for token in SPECIAL), *scored, ("<mask>", 0.0)], unk_id=3))
    made.normalizer = normalizers.Precompiled(charsmap(FOLDED))
    marks = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), marks]) if splits else marks
    if not splits:
        made.normalizer = normalizers.Sequence([made.normalizer, normalizers.Replace(Regex(" {2,}"), " ")])
    made.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    _surround(made, SPECIAL, "<mask>")
    return made


def byte_pairs() -> Tokenizer:
    """Build a byte-level tokenizer as RoBERTa's is."""
    made = _byte_pairs(SPECIAL, "<mask>")
    _surround(made, SPECIAL, "<mask>")
    return made


def modern() -> Tokenizer:
    """Build a byte-level tokenizer as ModernBERT's is: text in NFC, runs of spaces that are tokens of their own."""
    special = ("[CLS]", "[PAD]", "[SEP]", "[UNK]")
    made = _byte_pairs(special, "[MASK]")
    made.normalizer = normalizers.NFC()
    _surround(made, special, "[MASK]")
    made.add_tokens([AddedToken(" " * n) for n in (2, 3, 4)] + [AddedToken("|||ADDRESS|||")])
    return made


def _byte_pairs(special: tuple[str, ...], mask: str) -> Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [
        ("w", "o"),
        ("wo", "r"),
        ("wor", "d"),
        ("Ġ", "word"),
        ("t", "h"),
        ("th", "e"),
        ("Ġ", "the"),
        ("h", "e"),
        ("l", "l"),
    ]
    words = [*special, *letters, *("".join(merge) for merge in merges), mask]
    made = Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def merged_pieces(prefix: str = "", around: tuple[str, str] = ("<bos>", "<eos>")) -> Tokenizer:
    """Build a tokenizer of pieces that are merged by rank, and of bytes, as Gemma's is, or with `prefix` as Llama 2's.

    A piece has every merge that makes it of two others, as transformers' converter of SentencePiece files writes them.
    """
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    if prefix:
        special = ["<unk>", "<s>", "</s>"]
    ways = [piece[:n] for piece in PIECES for n in range(2, len(piece) + 1)]  # a letter is added at a time
    pieces = dict.fromkeys([*ways, SPACE * 2, SPACE * 3, SPACE * 4])
    alphabet = dict.fromkeys([SPACE, *"".join(PIECES)])
    raw = [f"<0x{n:02X}>" for n in range(256)]
    if not prefix:
        raw[9] = "\t"  # which has a token of its own in the place of its byte
    words = dict.fromkeys([*special, *raw, *pieces, *alphabet])
    merges = [
        (piece[:n], piece[n:])
        for piece in pieces
        for n in range(1, len(piece))
        if piece[:n] in words and piece[n:] in words
    ]
    whole: dict[str, Any] = {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}
    made = Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, merges, **whole))
    spaces = normalizers.Replace(" ", SPACE)
    made.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if prefix else spaces
    if not prefix:
        made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    first, last = around
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(token, made.token_to_id(token)) for token in around]
    )
    return made


def _surround(made: Tokenizer, special: tuple[str, ...], mask: str) -> None:
    first, _, last, _ = special
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, 0), (last, 2)]
    )
    made.add_special_tokens([*special, AddedToken(mask, lstrip=True, special=True)])
