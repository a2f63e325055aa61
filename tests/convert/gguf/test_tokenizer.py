"""A tokenizer.json made of a GGUF file's vocabulary: llama.cpp's ids, and those of the one that it was made of."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tokenizers import Tokenizer, normalizers

from edge_embed.errors import CorruptModelError, MissingDependencyError, UnsupportedModelError
from edge_embed.formats.gguf import read_header, read_strings
from edge_embed_convert.gguf.token_ids import HARD
from edge_embed_convert.gguf.tokenizer import build_tokenizer
from edge_embed_convert.gguf.vocabulary import vocabulary
from edge_embed_convert.verification.probes import probes

from support.letters import tokenizer as letters
from support.pieces import byte_pairs, unigram
from support.places import MINIATURES


def written(path: Path, keys: dict[str, Any]) -> Path:
    """Write a GGUF file that holds a vocabulary alone."""
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(64)
    for key, value in keys.items():
        if isinstance(value, list | bytes):
            writer.add_array(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_string(key, value)
    writer.add_tensor("nothing", np.zeros(1, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def vocabulary_of(made: Tokenizer, folder: Path, **changes: Any) -> Path:
    """Write the vocabulary of a tokenizer, with some of its keys changed; those that become None are left out."""
    made.save(str(folder / "tokenizer.json"))
    rows = made.get_vocab_size() + 3
    keys = vocabulary(folder / "tokenizer.json", {"vocab_size": rows, "pad_token_id": 0, "type_vocab_size": 2})
    keys |= {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    return written(folder / "x.gguf", {key: value for key, value in keys.items() if value is not None})


def bracketed() -> Tokenizer:
    """Return a tokenizer as of BERT, whose special tokens are added ones, and which strips accents."""
    made = letters()
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return made


TOKENIZERS = {"letters": letters, "bert": bracketed, "unigram": unigram, "bytes": byte_pairs}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_same_ids_as_before(kind: str, tmp_path: Path) -> None:
    theirs = TOKENIZERS[kind]()
    made = build_tokenizer(read_header(vocabulary_of(theirs, tmp_path)))
    ours = Tokenizer.from_str(made["tokenizer.json"])
    texts = [*probes(64), *HARD, "a <mask> b </s> c", "[CLS] a [PAD]"]
    assert [one.ids for one in ours.encode_batch(texts)] == [one.ids for one in theirs.encode_batch(texts)]
    assert {n: str(token) for n, token in ours.get_added_tokens_decoder().items()} == {
        n: str(token) for n, token in theirs.get_added_tokens_decoder().items()
    }


@pytest.mark.skipif(not MINIATURES.is_dir(), reason="the trained miniatures are not here")
@pytest.mark.parametrize("name", ["mini-qwen3", "mini-eurobert"])
def test_a_real_vocabulary(name: str, tmp_path: Path) -> None:
    theirs = Tokenizer.from_file(str(MINIATURES / name / "tokenizer.json"))
    theirs.no_truncation()
    theirs.no_padding()
    made = build_tokenizer(read_header(vocabulary_of(theirs, tmp_path)))
    ours = Tokenizer.from_str(made["tokenizer.json"])
    texts = [*probes(512), *HARD]
    assert [one.ids for one in ours.encode_batch(texts)] == [one.ids for one in theirs.encode_batch(texts)]
    assert json.loads(made["tokenizer_config.json"])["model_max_length"] == 64


def test_unmarked_brackets_of_older_files(tmp_path: Path) -> None:
    """As converters of 2024 wrote them: of the tokens' type, without the mark of a word's beginning."""
    made = letters()
    path = vocabulary_of(made, tmp_path)
    tokens = [token.decode() for token in read_strings(read_header(path), "tokenizer.ggml.tokens")]
    plain = [token.removeprefix("\u2581") if token.startswith("\u2581[") else token for token in tokens]
    rebuilt = build_tokenizer(read_header(vocabulary_of(made, tmp_path, tokens=plain)))
    ours = Tokenizer.from_str(rebuilt["tokenizer.json"])
    assert ours.encode("a cat").ids == made.encode("a cat").ids
    assert ours.token_to_id("[CLS]") == 2


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            "letters",
            {"model": "rwkv"},
            "no tokenizer.json can be made of a vocabulary of kind 'rwkv', only of 'bert', ",
        ),
        ("letters", {"tokens": None, "token_type": None}, "has no vocabulary, tokenizer.ggml.tokens: put the model's"),
        ("bytes", {"pre": "viking"}, "the pre-tokenizer 'viking' is not implemented; 'gpt-2', .* are: put the"),
        (
            "letters",
            {"token_type": [*[1] * 4, 5, *[1] * 81]},
            "is not what llama.cpp makes of it: llama.cpp's tokenizer gives other ids for ",
        ),
        ("unigram", {"add_space_prefix": False}, "remove_extra_whitespaces without add_space_prefix has no equal"),
    ],
)
def test_what_has_no_equal_is_refused(kind: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        build_tokenizer(read_header(vocabulary_of(TOKENIZERS[kind](), tmp_path, **changes)))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("letters", {"token_type": [1] * 80}, "token_type has 80 numbers for 86 tokens: get another file"),
        ("letters", {"padding_token_id": 900}, "padding_token_id=900 is none of 86 tokens"),
        ("unigram", {"scores": None}, "has no tokenizer.ggml.scores for its pieces: get another file"),
        ("unigram", {"precompiled_charsmap": [0.5] * 70}, "precompiled_charsmap is not all bytes: get another file"),
        ("bytes", {"merges": ["a b c"]}, "merges has 'a b c', which are no two parts"),
        ("bytes", {"merges": ["Q Q"]}, "is not a tokenizer.json: .*QQ"),
    ],
)
def test_lists_that_contradict_one_another(kind: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptModelError, match=message):
        build_tokenizer(read_header(vocabulary_of(TOKENIZERS[kind](), tmp_path, **changes)))


def test_without_llama_cpp_nothing_can_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = vocabulary_of(letters(), tmp_path)
    monkeypatch.delitem(sys.modules, "edge_embed_convert.gguf.token_ids", raising=False)
    for name in ("model", "runtime"):
        monkeypatch.delitem(sys.modules, f"edge_embed.backends.gguf.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(
        MissingDependencyError, match=r"compared with what llama.cpp makes of it: llama_cpp is not inst"
    ):
        build_tokenizer(read_header(path))
