"""SentencePiece's BPE in GGUF: the ids of llama.cpp are those of tokenizer.json, and what it cannot do is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tokenizers import Tokenizer

from edge_embed import Embedder
from edge_embed.errors import UnsupportedModelError, VerificationError
from edge_embed_convert import convert
from edge_embed_convert.gguf.file import write_file
from edge_embed_convert.gguf.token_ids import check_ids
from edge_embed_convert.gguf.vocabulary import vocabulary
from edge_embed_convert.variant import open_variant

from support import pieces, tiny

LLAMA = ("<s>", "</s>")
METASPACE = {"type": "Metaspace", "replacement": pieces.SPACE, "prepend_scheme": "first", "split": False}
ROWS = {"vocab_size": 720}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return Gemma's kind of tokenizer, to be spoilt."""
    pieces.merged_pieces().save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def changed(path: Path, **values: Any) -> Path:
    """Change keys of a tokenizer.json; those of its model by `model`."""
    data = json.loads(path.read_text())
    data = {**data, **values, "model": {**data["model"], **values.get("model", {})}}
    path.write_text(json.dumps(data))
    return path


def test_what_is_written(path: Path) -> None:
    keys = vocabulary(path, {**ROWS, "pad_token_id": 0})
    tokens, types, scores = (keys[f"tokenizer.ggml.{key}"] for key in ("tokens", "token_type", "scores"))
    kinds, words = gguf.TokenType, Tokenizer.from_file(str(path))
    assert (len(tokens), len(types), len(scores)) == (720, 720, 720)
    assert tokens[:5] == ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    assert types[:6] == [*[kinds.CONTROL] * 5, kinds.BYTE]
    assert (tokens[5 + 9], types[5 + 9], tokens[5 + 10]) == ("\t", kinds.NORMAL, "<0x0A>")
    assert (tokens[719], types[719]) == ("[PAD719]", kinds.UNUSED)
    merges = json.loads(path.read_text())["model"]["merges"]
    ranks = [scores[words.token_to_id("".join(merge))] for merge in merges]
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[0] == 0 > ranks[-1] > scores[words.token_to_id("q")] == scores[5]
    expected = {
        **{"model": "llama", "pre": "default", "add_space_prefix": False, "padding_token_id": 0},
        **{"add_bos_token": True, "add_eos_token": True, "bos_token_id": 2, "eos_token_id": 1, "unknown_token_id": 3},
    }
    assert {key: keys[f"tokenizer.ggml.{key}"] for key in expected} == expected


@pytest.mark.parametrize(
    ("prefix", "changes", "beyond"),
    [
        ("", {}, 0),
        ("", {"pre_tokenizer": None}, 0),
        (pieces.SPACE, {}, 0),
        (pieces.SPACE, {"normalizer": None, "pre_tokenizer": METASPACE}, 5),
        (pieces.SPACE, {"normalizer": None, "pre_tokenizer": {**METASPACE, "prepend_scheme": "never"}}, 0),
    ],
    ids=["Gemma", "no split", "Llama 2", "Mistral", "no prefix"],
)
def test_llama_cpp_gives_the_same_ids(prefix: str, changes: dict[str, Any], beyond: int, tmp_path: Path) -> None:
    """In Metaspace a text that begins with a space, or stands after a special token, has no space put before it."""
    tiny.make("gemma3_text", tmp_path / "model")
    path = tmp_path / "model" / "tokenizer.json"
    pieces.merged_pieces(prefix, LLAMA if prefix else ("<bos>", "<eos>")).save(str(path))
    changed(path, **changes)
    source = open_variant(tmp_path / "model", None, None, None, {})
    write_file(tmp_path / "x.gguf", source, "F32", path)
    texts, left_out = check_ids(tmp_path / "x.gguf", path)
    assert texts > 80
    assert left_out == beyond


def test_tokens_of_several_spaces_that_were_added(tmp_path: Path) -> None:
    """What is looked for in the normalised text has spaces in llama.cpp, and what is looked for before it has signs."""
    tiny.make("gemma3_text", tmp_path / "model")
    path = tmp_path / "model" / "tokenizer.json"
    spaces = pieces.SPACE * 4
    for normalized, text in ((True, " " * 4), (False, spaces)):
        made = pieces.merged_pieces()
        number = made.token_to_id(spaces)
        made.save(str(path))
        token = {"id": number, "content": spaces, "special": False, "normalized": normalized, "single_word": False}
        added = [*json.loads(path.read_text())["added_tokens"], {**token, "lstrip": False, "rstrip": False}]
        changed(path, added_tokens=added)
        keys = vocabulary(path, ROWS)
        assert keys["tokenizer.ggml.tokens"][number] == text
        assert keys["tokenizer.ggml.token_type"][number] == gguf.TokenType.USER_DEFINED
        write_file(tmp_path / "x.gguf", open_variant(tmp_path / "model", None, None, None, {}), "F32", path)
        check_ids(tmp_path / "x.gguf", path)


def test_other_ids_are_found(tmp_path: Path) -> None:
    """Of a piece that two merges make, one of them early and one late, no score can tell."""
    tiny.make("gemma3_text", tmp_path / "model")
    path = tmp_path / "model" / "tokenizer.json"
    data = json.loads(path.read_text())
    words = [word for word in data["model"]["vocab"] if len(word) == 1 or word.startswith("<")]
    merges = [("lo", "n"), ("o", "n"), ("on", "g"), ("l", "o"), ("l", "on")]
    words += dict.fromkeys("".join(merge) for merge in merges)
    data["model"] |= {"vocab": {word: n for n, word in enumerate(words)}, "merges": merges}
    path.write_text(json.dumps(data))
    write_file(tmp_path / "x.gguf", open_variant(tmp_path / "model", None, None, None, {}), "F32", path)
    with pytest.raises(VerificationError, match=r"llama\.cpp's tokenizer gives other ids for '.*long"):
        check_ids(tmp_path / "x.gguf", path)


def test_a_token_without_a_row(tmp_path: Path) -> None:
    """Gemma 3's tokenizer has one for images, of which its text models' table has none: what spells it is text."""
    tiny.make("gemma3_text", tmp_path / "model")
    path = tmp_path / "model" / "tokenizer.json"
    token = {**json.loads(path.read_text())["added_tokens"][0], "id": 720, "content": "<image_soft_token>"}
    changed(path, added_tokens=[*json.loads(path.read_text())["added_tokens"], token])
    onnx, folder = convert(tmp_path / "model", tmp_path / "out", ["onnx:float32", "gguf:F16"])
    with Embedder(onnx) as exact, Embedder(folder) as model:
        one, other = (loaded.encode("a <image_soft_token> of a fox") for loaded in (exact, model))
        np.testing.assert_allclose(one, other, atol=3e-3)  # of F16
    reader = gguf.GGUFReader(next(folder.glob("*.gguf")))
    assert len(reader.fields["tokenizer.ggml.tokens"].contents()) == 720


CASES: list[tuple[dict[str, Any], str]] = [
    ({"model": {"ignore_merges": True}}, "BPE of bytes that fall back with ignore_merges=True has no equal"),
    ({"normalizer": {"type": "NFKC"}}, "normalizer .*NFKC.* has no equal in llama.cpp, which knows spaces that become"),
    ({"pre_tokenizer": {"type": "Digits", "individual_digits": True}}, "pre-tokenizer .*Digits.* has no equal"),
    ({"normalizer": None, "pre_tokenizer": {**METASPACE, "split": True}}, "pre-tokenizer .*Metaspace.* has no equal"),
    ({"model": {"merges": [["w", "o"]]}}, "BPE in which '.*' and '.*' do not merge although '.*' is a token has no eq"),
]


@pytest.mark.parametrize(("changes", "message"), CASES, ids=["whole words", "NFKC", "digits", "split", "merges"])
def test_what_llama_cpp_lacks_is_refused(changes: dict[str, Any], message: str, path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        vocabulary(changed(path, **changes), ROWS)


def test_a_byte_without_a_token_is_refused(path: Path) -> None:
    words = json.loads(path.read_text())["model"]["vocab"]
    words["<no>"] = words.pop("<0xFF>")
    with pytest.raises(UnsupportedModelError, match="byte_fallback=True and no token <0xFF> has no equal"):
        vocabulary(changed(path, model={"vocab": words}), ROWS)
