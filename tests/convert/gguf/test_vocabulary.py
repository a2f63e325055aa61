"""The vocabulary of GGUF files: the ids that llama.cpp gives are tokenizer.json's, and what it lacks is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gguf
import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from edge_embed.backends.gguf.model import Vocabulary
from edge_embed.errors import CorruptModelError, UnsupportedModelError, VerificationError
from edge_embed_convert import convert
from edge_embed_convert.calibrate import read_texts
from edge_embed_convert.checkpoint.source import Source
from edge_embed_convert.gguf.file import write_file
from edge_embed_convert.gguf.token_ids import check_ids
from edge_embed_convert.gguf.vocabulary import PRE, vocabulary
from edge_embed_convert.variant import open_variant

from support import tiny
from support.corpus import texts as corpus


def value(reader: gguf.GGUFReader, key: str) -> Any:
    """Read one key of a file."""
    return reader.fields[key].contents()


def bpe(path: Path, split: str, whole_words: bool, closing: str = "<|end|>") -> Path:
    """Train a small byte-level BPE that splits as said, with a closing token, and save it."""
    made = Tokenizer(models.BPE(ignore_merges=whole_words))
    own = split == "ByteLevel"
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=own)
    cut = [] if own else [pre_tokenizers.Split(Regex(split), "isolated")]
    made.pre_tokenizer = last if own else pre_tokenizers.Sequence([*cut, last])
    made.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[closing, "<|pad|>"], initial_alphabet=alphabet)
    made.train_from_iterator([*corpus(100), *read_texts(), *["1234567"] * 50], trainer)
    made.post_processor = processors.TemplateProcessing(single=f"$A {closing}", special_tokens=[(closing, 0)])
    made.save(str(path))
    return path


def with_tokenizer(folder: Path, **changes: Any) -> Source:
    """Make a tiny Qwen3 whose embedding table has room for `bpe`."""
    tiny.make("qwen3", folder, "lasttoken", vocab_size=620, **changes)
    return open_variant(folder, None, None, None, {})


@pytest.mark.parametrize(("split", "whole_words"), list(PRE), ids=list(PRE.values()))
def test_ids_are_those_of_tokenizer_json(split: str, whole_words: bool, tmp_path: Path) -> None:
    source = with_tokenizer(tmp_path / "model")
    tokenizer = bpe(source.folder / "tokenizer.json", split, whole_words)
    write_file(tmp_path / "x.gguf", source, "F16", tokenizer)
    compared, left_out = check_ids(tmp_path / "x.gguf", tokenizer)
    assert compared > 60 > 20 > left_out
    reader = gguf.GGUFReader(tmp_path / "x.gguf")
    assert value(reader, "tokenizer.ggml.pre") == PRE[split, whole_words]
    assert (value(reader, "tokenizer.ggml.add_eos_token"), value(reader, "tokenizer.ggml.add_bos_token")) == (
        True,
        False,
    )
    assert (value(reader, "tokenizer.ggml.eos_token_id"), value(reader, "tokenizer.ggml.tokens")[619]) == (
        0,
        "[PAD619]",
    )


def test_modernbert_has_the_ids_of_tokenizer_json(tmp_path: Path) -> None:
    """Runs of spaces are tokens, the longest first; spaces before [MASK], which llama.cpp keeps, are left out."""
    tiny.make("modernbert", tmp_path)
    source, tokenizer = open_variant(tmp_path, None, None, None, {}), tmp_path / "tokenizer.json"
    write_file(tmp_path / "x.gguf", source, "F16", tokenizer)
    reader = gguf.GGUFReader(tmp_path / "x.gguf")
    assert value(reader, "tokenizer.ggml.pre") == "modern-bert"
    assert (value(reader, "tokenizer.ggml.bos_token_id"), value(reader, "tokenizer.ggml.eos_token_id")) == (0, 2)
    compared, left_out = check_ids(tmp_path / "x.gguf", tokenizer)
    assert compared > 60 > 20 > left_out
    texts = [f"the{' ' * n}word{' ' * n}" for n in range(1, 12)] + ["a[MASK]", "x|||ADDRESS|||  y", "[MASK] b"]
    vocabulary, exact = Vocabulary(tmp_path / "x.gguf"), Tokenizer.from_file(str(tokenizer))
    try:
        assert [vocabulary.encode(text) for text in texts] == [exact.encode(text).ids for text in texts]
        assert vocabulary.encode("a [MASK]") != exact.encode("a [MASK]").ids  # else none need be left out
    finally:
        vocabulary.close()


def test_other_ids_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = with_tokenizer(tmp_path / "model")
    split = next(key for key, name in PRE.items() if name == "smaug-bpe")
    tokenizer = bpe(source.folder / "tokenizer.json", *split)
    monkeypatch.setitem(PRE, split, "qwen2")  # which splits digits
    with pytest.raises(VerificationError, match=r"llama.cpp's tokenizer gives other ids for .*: from token \d+ on \["):
        convert(source.folder, tmp_path / "out", ["gguf:F16"])
    assert not any((tmp_path / "out").iterdir())
    assert tokenizer.exists()


def test_minilm_has_the_ids_of_tokenizer_json(minilm: Path, tmp_path: Path) -> None:
    """Vowel signs of Hindi, Bengali, Tamil and Korean are what llama.cpp's WordPiece loses: 10 texts."""
    source = open_variant(minilm, "minilm", None, None, {})
    write_file(tmp_path / "x.gguf", source, "F16", minilm / "tokenizer.json")
    compared, left_out = check_ids(tmp_path / "x.gguf", minilm / "tokenizer.json")
    assert compared > 75
    assert left_out < 15


WORDPIECE = [
    ({"model": {"type": "WordLevel", "vocab": {}}}, "model 'WordLevel' has no equal in llama.cpp, which knows 'BPE', "),
    ({"pre_tokenizer": {"type": "Whitespace"}}, "before WordPiece has no equal in llama.cpp, which knows 'BertPreTo"),
    ({"normalizer": {"type": "Lowercase"}}, r"normalizer .*Lowercase.* before WordPiece has no equal"),
    ({"post_processor": None}, "WordPiece with a token at both ends: convert to ONNX or MLX instead"),
]


@pytest.mark.parametrize(("changes", "message"), WORDPIECE, ids=[next(iter(changes)) for changes, _ in WORDPIECE])
def test_wordpiece_that_llama_cpp_lacks_is_refused(
    changes: dict[str, Any], message: str, tiny_tokenizer: Path, tmp_path: Path
) -> None:
    data = {**json.loads(tiny_tokenizer.read_text()), **changes}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(UnsupportedModelError, match=message):
        vocabulary(tmp_path / "tokenizer.json", {"vocab_size": len(tiny.WORDS)})


def test_a_tokenizer_with_more_tokens_than_rows_is_refused(tiny_tokenizer: Path) -> None:
    last = len(tiny.WORDS) - 1
    with pytest.raises(CorruptModelError, match=re.escape(f"has token {last}, config.json says vocab_size={last}")):
        vocabulary(tiny_tokenizer, {"vocab_size": last})


def test_bpe_that_llama_cpp_lacks_is_refused(tmp_path: Path) -> None:
    path = bpe(tmp_path / "tokenizer.json", "ByteLevel", False)
    whole = json.loads(path.read_text())
    two = {"type": "TemplateProcessing", "single": [_token("<|end|>"), _token("<|pad|>"), _text()], "pair": []}
    two["special_tokens"] = {t: {"id": t, "ids": [n], "tokens": [t]} for n, t in enumerate(["<|end|>", "<|pad|>"])}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"normalizer": {"type": "NFKC"}}, "normalizer 'NFKC' before BPE has no equal in llama.cpp"),
        ({"model": {**whole["model"], "byte_fallback": True}}, "normalizer .*NFC.* before BPE of bytes that fall back"),
        ({"pre_tokenizer": {"type": "Digits", "individual_digits": True}}, "pre-tokenizer .*Digits.* has no equal"),
        ({"post_processor": two}, "one token before a text and one after it"),
    ]
    for changes, message in cases:
        path.write_text(json.dumps({**whole, **changes}))
        with pytest.raises(UnsupportedModelError, match=message):
            vocabulary(path, {"vocab_size": 620})


def _token(name: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": name, "type_id": 0}}


def _text() -> dict[str, Any]:
    return {"Sequence": {"id": "A", "type_id": 0}}


def test_one_name_for_two_tokens_is_refused(tiny_tokenizer: Path, tmp_path: Path) -> None:
    data = json.loads(tiny_tokenizer.read_text())
    data["added_tokens"] = [{"id": len(tiny.WORDS), "content": "b", "special": True}]  # as ##b is called in GGUF
    data["added_tokens"][0] |= {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(CorruptModelError, match=r"tokenizer.json gives several ids to one token: 'b'"):
        vocabulary(tmp_path / "tokenizer.json", {"vocab_size": len(tiny.WORDS) + 1})
