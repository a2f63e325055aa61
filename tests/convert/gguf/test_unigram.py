"""A Unigram tokenizer in GGUF: the ids of llama.cpp are those of tokenizer.json, and what it cannot do is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import pytest

from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed_convert.gguf.file import write_file
from edge_embed_convert.gguf.token_ids import check_ids
from edge_embed_convert.gguf.vocabulary import vocabulary
from edge_embed_convert.variant import open_variant

from support import pieces, tiny

ROWS = {"vocab_size": 300, "type_vocab_size": 1}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a tokenizer of pieces, to be spoilt."""
    pieces.unigram().save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def changed(path: Path, **values: Any) -> Path:
    """Change keys of a tokenizer.json."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return path


def test_what_is_written(path: Path) -> None:
    keys = vocabulary(path, {**ROWS, "pad_token_id": 1})
    tokens, types, scores = (keys[f"tokenizer.ggml.{key}"] for key in ("tokens", "token_type", "scores"))
    count = len(json.loads(path.read_text())["model"]["vocab"])
    assert (len(tokens), len(types), len(scores)) == (300, 300, 300)
    assert (tokens[:5], tokens[299]) == ([*pieces.SPECIAL, pieces.SPACE], "[PAD299]")
    kinds = gguf.TokenType
    assert types[:5] == [kinds.CONTROL, kinds.CONTROL, kinds.CONTROL, kinds.UNKNOWN, kinds.NORMAL]
    assert (types[count - 1], types[count]) == (kinds.CONTROL, kinds.UNUSED)
    assert (scores[4:6], scores[299]) == ([-2.0, -2.037], -10000.0)
    expected = {
        **{"model": "t5", "pre": "default", "token_type_count": 1, "add_space_prefix": True},
        **{"remove_extra_whitespaces": True, "precompiled_charsmap": pieces.charsmap(pieces.FOLDED)},
        **{"add_bos_token": True, "add_eos_token": True, "bos_token_id": 0, "eos_token_id": 2},
        **{"seperator_token_id": 2, "unknown_token_id": 3, "padding_token_id": 1},
    }
    assert {key: keys[f"tokenizer.ggml.{key}"] for key in expected} == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": None},
        {
            "normalizer": {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Strip", "strip_left": False, "strip_right": True},
                    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": pieces.SPACE},
                ],
            },
            "pre_tokenizer": {"type": "Metaspace", "replacement": pieces.SPACE, "prepend_scheme": "always"},
        },
    ],
    ids=["no charsmap", "spaces joined by the normalizer"],
)
def test_other_ways_of_saying_so(path: Path, changes: dict[str, Any]) -> None:
    keys = vocabulary(changed(path, **changes), ROWS)
    assert keys["tokenizer.ggml.remove_extra_whitespaces"] is True
    assert "tokenizer.ggml.precompiled_charsmap" not in keys


@pytest.mark.parametrize("splits", [True, False], ids=["XLM-RoBERTa", "multilingual-e5"])
def test_llama_cpp_gives_the_same_ids(splits: bool, tmp_path: Path) -> None:
    tiny.make("xlm-roberta", tmp_path / "model")
    pieces.unigram(splits).save(str(tmp_path / "model" / "tokenizer.json"))
    source = open_variant(tmp_path / "model", None, None, None, {})
    write_file(tmp_path / "x.gguf", source, "F32", source.folder / "tokenizer.json")
    texts, left_out = check_ids(tmp_path / "x.gguf", source.folder / "tokenizer.json")
    assert texts > 60
    assert left_out == 0


SCHEMES = {"type": "Metaspace", "replacement": pieces.SPACE, "prepend_scheme": "never"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "normalizer .*Lowercase.* before Unigram has no equal in llama.cpp"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre-tokenizer .*Whitespace.* before Unigram has no equal"),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, SCHEMES]}},
            "knows words that all begin with a space",
        ),
    ],
)
def test_what_llama_cpp_lacks_is_refused(path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        vocabulary(changed(path, **changes), ROWS)


def test_pieces_that_fall_back_to_bytes_are_refused(path: Path) -> None:
    model = {**json.loads(path.read_text())["model"], "byte_fallback": True}
    with pytest.raises(UnsupportedModelError, match="Unigram with byte_fallback=True has no equal"):
        vocabulary(changed(path, model=model), ROWS)


def test_a_charsmap_that_is_none(path: Path) -> None:
    with pytest.raises(CorruptModelError, match="precompiled_charsmap is no base64"):
        vocabulary(changed(path, normalizer={"type": "Precompiled", "precompiled_charsmap": "a"}), ROWS)
