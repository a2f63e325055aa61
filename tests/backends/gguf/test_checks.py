"""What llama.cpp ends the process for is refused before it sees the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from edge_embed import CorruptModelError
from edge_embed.backends.gguf.checks import check_model, check_vocabulary
from edge_embed.formats.gguf import ENCODERS, Header, Tensor, read_header

BERT: dict[str, Any] = {
    **{"general.architecture": "bert", "bert.block_count": 2, "bert.embedding_length": 32, "bert.context_length": 64},
    **{"bert.attention.head_count": 4, "bert.attention.layer_norm_epsilon": 1e-12},
}
QWEN3: dict[str, Any] = {
    **{"general.architecture": "qwen3", "qwen3.block_count": 2, "qwen3.embedding_length": 32},
    **{"qwen3.context_length": 64, "qwen3.attention.head_count": 4, "qwen3.attention.head_count_kv": 2},
    **{"qwen3.attention.key_length": 16, "qwen3.attention.value_length": 16, "qwen3.rope.dimension_count": 16},
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"word{n}" for n in range(100))]


def header(metadata: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> Header:
    return Header(metadata, tensors or {}, 0, Path("a.gguf"))


@pytest.mark.parametrize("metadata", [BERT, QWEN3])
def test_usual_numbers_pass(metadata: dict[str, Any]) -> None:
    check_model(header(metadata, {"a": Tensor((32,), 0, 0), "b": Tensor((32, 9), 14, 0)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bert.block_count": 0}, "bert.block_count=0 is not a whole number from 1"),
        ({"bert.block_count": 513}, "bert.block_count=513 should be at most 512"),
        ({"bert.block_count": [2]}, r"bert.block_count=\[2\] is not a whole number"),
        ({"bert.nextn_predict_layers": 3}, "bert.nextn_predict_layers=3 should be at most 2"),
        ({"bert.rope.scaling.type": "odd"}, "bert.rope.scaling.type='odd' should be one of 'linear', 'longrope'"),
        ({"bert.attention.layer_norm_epsilon": -1.0}, "bert.attention.layer_norm_epsilon=-1.0 is not a number from 0"),
        ({"bert.rope.freq_base": 0.0}, "bert.rope.freq_base=0.0 should be above 0"),
        ({"bert.expert_count": 2}, "bert.expert_used_count=None should be a share of 2 experts"),
        ({"bert.expert_used_count": 2}, "bert.expert_used_count=2 should be a share of 0 experts"),
        ({"bert.expert_group_count": 2}, "bert.expert_group_count=2 should be groups that share 0 experts"),
        ({"bert.attention.head_count": 5}, "bert.attention.head_count=5 should be a divisor of 32"),
        ({"bert.attention.head_count_kv": 3}, "bert.attention.head_count_kv=3 should be a divisor of 4"),
        ({"bert.attention.value_length": 4}, "bert.attention.value_length=4 should be 8, as the keys are"),
    ],
)
def test_numbers_that_llama_cpp_asserts(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CorruptModelError, match=f"a.gguf: {message}"):
        check_model(header({**BERT, **change}))


GEMMA = {
    **{key.replace("qwen3", "gemma-embedding"): value for key, value in QWEN3.items()},
    **{"general.architecture": "gemma-embedding", "gemma-embedding.attention.sliding_window": 8},
}
MODERN = {**{key.replace("bert", "modern-bert"): value for key, value in BERT.items()}}
MODERN |= {"general.architecture": "modern-bert", "modern-bert.attention.sliding_window": 8}


@pytest.mark.parametrize(
    ("metadata", "layers", "pattern", "both"),
    [
        *((GEMMA, layers, None, layers > 5) for layers in (2, 5, 6, 62)),
        *((GEMMA, 2, pattern, both) for pattern, both in ((2, True), (0, False), (1, False), ([1, 0], True))),
        *((GEMMA, 2, pattern, False) for pattern in ([1, 1, 0], [False, False])),
        *((MODERN, layers, None, layers > 1) for layers in (1, 2)),
    ],
)
def test_windows_of_encoders(metadata: dict[str, Any], layers: int, pattern: object, both: bool) -> None:
    """llama.cpp fills a mask for layers with a window and one for those without, and no layer may have left one out."""
    kind = metadata["general.architecture"]
    changed = {**metadata, f"{kind}.block_count": layers}
    changed |= {} if pattern is None else {f"{kind}.attention.sliding_window_pattern": pattern}
    if both:
        check_model(header(changed))
        return
    with pytest.raises(CorruptModelError, match=r"sliding_window_pattern=.* should be such that some layers have"):
        check_model(header(changed))
    check_model(header({**MODERN, "modern-bert.block_count": 1, "modern-bert.attention.sliding_window": 0}))


@pytest.mark.parametrize("tensor", [Tensor((32,), 1, 0), Tensor((), 8, 0), Tensor((32, 9), 26, 0)])
def test_types_that_no_operator_takes(tensor: Tensor) -> None:
    with pytest.raises(CorruptModelError, match=r"tensor 'a' of shape .* which llama.cpp cannot compute with there"):
        check_model(header(BERT, {"a": tensor}))


def test_keys_that_turn_by_less_than_their_width() -> None:
    with pytest.raises(CorruptModelError, match=r"qwen3.rope.dimension_count=8 should be even, and of 16"):
        check_model(header({**QWEN3, "qwen3.rope.dimension_count": 8}))


def vocabulary(path: Path, words: list[str], model: str = "bert", types: list[int] | None = None, **ids: int) -> Header:
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_tokenizer_model(model)
    writer.add_token_list(words)
    if types is not None:
        writer.add_token_types(types)
    writer.add_add_bos_token(True)
    for name, token in ids.items():
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", token)
    writer.add_tensor("token_embd.weight", np.ones((len(words), 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return read_header(path)


@pytest.mark.parametrize(
    ("words", "model", "ids", "message"),
    [
        ([*WORDS, "word7"], "bert", {}, "tokenizer.ggml.tokens lists 'word7' twice: get another file"),
        ([*WORDS[:9], "word1"], "gpt2", {"bos": 0, "eos": 0}, "tokenizer.ggml.tokens lists 'word1' twice"),
        ([*WORDS, "", "[EMPTY_104]"], "bert", {}, r"lists '\[EMPTY_104\]' twice"),
        (WORDS[:50], "bert", {"bos": 2}, "seperator_token_id=None is none of 50 tokens: get another file"),
        (WORDS[:50], "bert", {"bos": 2, "seperator": 50}, "seperator_token_id=50 is none of 50 tokens"),
        (WORDS, "t5", {}, "bos_token_id=None is none of 104 tokens"),
        (WORDS, "llama", {}, "tokenizer.ggml.tokens lacks tokens for single bytes"),
    ],
)
def test_vocabularies_that_llama_cpp_asserts(
    tmp_path: Path, words: list[str], model: str, ids: dict[str, int], message: str
) -> None:
    with pytest.raises(CorruptModelError, match=message):
        check_vocabulary(vocabulary(tmp_path / "a.gguf", words, model, **ids))
    check_vocabulary(vocabulary(tmp_path / "b.gguf", WORDS, "bert"))


def test_tokens_of_single_bytes_in_wordpiece(tmp_path: Path) -> None:
    """llama.cpp asks for every token's bytes as it loads them, and has none for these."""
    with pytest.raises(CorruptModelError, match="token_type has tokens for single bytes, which WordPiece has not"):
        check_vocabulary(vocabulary(tmp_path / "a.gguf", WORDS, types=[gguf.TokenType.BYTE] * len(WORDS)))


def charsmap(units: dict[int, int], replacements: bytes = b"a\0", size: int = 512) -> bytes:
    """Write a double array of `size` uint32, and replacements, as SentencePiece does."""
    array = np.zeros(size, "<u4")
    for n, unit in units.items():
        array[n] = unit
    return (4 * size).to_bytes(4, "little") + array.tobytes() + replacements


def node(base: int, label: int = 0, leaf: bool = False) -> int:
    return base << 10 | leaf << 8 | label


A_TO_A = {0: node(256), 256 ^ 0x41: node(2, 0x41, leaf=True), 256 ^ 0x41 ^ 2: 1 << 31 | 0}  # "A" becomes "a"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (charsmap(A_TO_A)[:1000], "says that its array has 2,048 bytes, of 1,000"),
        (b"\4\0", "says that its array has 4 bytes, of 2"),
        (charsmap({0: node(512)}), "has a node whose children lie outside of its array"),
        (charsmap({**A_TO_A, 256 ^ 0x41: node(1 << 20, 0x41)}), "has a node whose children lie outside of its array"),
        (charsmap({**A_TO_A, 256 ^ 0x41: node(1024, 0x41, leaf=True)}), "has a leaf whose value lies outside"),
        (charsmap({**A_TO_A, 256 ^ 0x41 ^ 2: 1 << 31 | 2}), "has a replacement that lies or ends outside of it"),
        (charsmap(A_TO_A, b"a"), "has a replacement that lies or ends outside of it"),
    ],
)
def test_maps_of_characters_that_llama_cpp_would_read_past(tmp_path: Path, data: bytes, message: str) -> None:
    def written(name: str, data: bytes) -> Header:
        writer = gguf.GGUFWriter(tmp_path / name, "bert")
        writer.add_tokenizer_model("t5")
        writer.add_token_list(WORDS)
        writer.add_precompiled_charsmap(data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return read_header(tmp_path / name)

    with pytest.raises(
        CorruptModelError, match=rf"a.gguf: tokenizer.ggml.precompiled_charsmap {message}.*: get another"
    ):
        check_vocabulary(written("a.gguf", data))
    check_vocabulary(written("b.gguf", charsmap(A_TO_A)))
    check_vocabulary(written("c.gguf", charsmap({**A_TO_A, 256 ^ 0x41: node(0, 0x41)})))  # goes round and round
    check_vocabulary(written("d.gguf", charsmap({}, size=0)))


@pytest.mark.parametrize(("kind", "causal"), [("gemma-embedding", False), ("bert", False), ("qwen3", True)])
def test_a_file_that_does_not_say_whether_it_is_causal_is_what_llama_cpp_takes_it_for(kind: str, causal: bool) -> None:
    assert header({"general.architecture": kind}).causal is causal
    assert header({"general.architecture": kind, f"{kind}.attention.causal": not causal}).causal is not causal
    assert (kind in ENCODERS) is not causal
