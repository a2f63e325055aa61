"""What tokenizers' Rust code raises, a panic among it, becomes an error of ours, at opening and at every call."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_embed import CorruptModelError
from edge_embed.pipeline.tokenizer import TextTokenizer

UNIGRAM = {"type": "Unigram", "unk_id": None, "vocab": [["a", 0.0]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.update(model=3), "is not a tokenizer.json"),
        (
            lambda file: file.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
            "is not a tokenizer.json: Precompiled: .*Cannot parse precompiled_charsmap",
        ),
        (
            lambda file: file["post_processor"].update(special_tokens={}),
            "cannot tokenise .*: no entry found for key; get the model's tokenizer.json again",
        ),
        (
            lambda file: file.update(model=UNIGRAM, post_processor=None),
            "cannot tokenise .*: Encountered an unknown token",
        ),
        (
            lambda file: file["post_processor"]["special_tokens"]["[CLS]"].update(ids=[4_000_000_000]),
            "gives the id 4,000,000,000, beyond any model; get it again",
        ),
    ],
)
def test_a_damaged_tokenizer_raises_an_error_of_ours(
    tiny_tokenizer: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    file = json.loads(tiny_tokenizer.read_text("utf-8"))
    change(file)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file), "utf-8")
    with pytest.raises(CorruptModelError, match=message):
        TextTokenizer(path, 16).tokenize(["a b Ž"])
    with pytest.raises(CorruptModelError, match=message):
        TextTokenizer(path, 16).prefix("Ž {text}")
