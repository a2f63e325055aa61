"""CLIP's tokenizer as older folders have it, vocab.json and merges.txt -> the text of a tokenizer.json.

Its steps are those of transformers' CLIPTokenizer: texts in lower case with single blanks, cut into words, numbers by
the digit and runs of signs; pairs of bytes merged within each, of which the last is marked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError
from edge_embed.formats.json_file import read_object
from edge_embed.layouts.originals import MERGES, VOCABULARY
from edge_embed.spec.values import whole

OPENING, CLOSING = "<|startoftext|>", "<|endoftext|>"
ENDINGS = ("s", "t", "re", "ve", "m", "ll", "d")  # that are words of their own behind an apostrophe
CLASSES = (r"[\p{L}]+", r"[\p{N}]", r"[^\s\p{L}\p{N}]+")
MARK = "</w>"  # of a word's last byte


def tokenizer_json(folder: Path) -> bytes:
    """Return the text of the tokenizer.json; raises CorruptModelError for a file that cannot be read."""
    words = read_object(folder / VOCABULARY)
    ids = {token: whole(words, token, folder / VOCABULARY, least=0) for token in (OPENING, CLOSING)}
    steps = [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}, {"type": "Lowercase"}]
    pattern = "|".join([*(token.replace("|", r"\|") for token in ids), *(f"'{ending}" for ending in ENDINGS), *CLASSES])
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    made = {
        "added_tokens": [_special(token, number) for token, number in sorted(ids.items(), key=lambda one: one[1])],
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": {
            "type": "RobertaProcessing",
            "cls": [OPENING, ids[OPENING]],
            "sep": [CLOSING, ids[CLOSING]],
            "trim_offsets": False,
            "add_prefix_space": False,
        },
        "decoder": level,
        "model": {
            "type": "BPE",
            "unk_token": CLOSING,
            "end_of_word_suffix": MARK,
            "vocab": words,
            "merges": _merges(folder / MERGES),
        },
    }
    return json.dumps(made, ensure_ascii=False).encode()


def _special(token: str, number: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, "special": True, **flags}


def _merges(path: Path) -> list[str]:
    """Read pairs, one a line, the first to be merged first; a line may say the file's version."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptModelError(f"{path} cannot be read: {error}; fetch it again") from error
    return [line for line in lines if line and not line.startswith("#version")]
