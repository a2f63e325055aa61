"""GGUF files written straight from a checkpoint's tensors, for tests and benchmarks of the run time alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

POOLING = {"mean": gguf.PoolingType.MEAN, "first": gguf.PoolingType.CLS, "last": gguf.PoolingType.LAST}
NOT_IN_GGUF = ("pooler.", "embeddings.position_ids")


def write(
    path: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    pooling: str = "mean",
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    words: Sequence[str] | None = None,
) -> Path:
    """Write a checkpoint's float32 tensors, matrices as `kind`, with a vocabulary of WordPiece `words`, or of bytes."""
    architecture = config["model_type"]
    writer = gguf.GGUFWriter(path, architecture)
    _describe(writer, config, pooling)
    if words is None:
        byte_level(writer, config["vocab_size"])
    else:
        word_piece(writer, [*words, *(f"[extra{n}]" for n in range(config["vocab_size"] - len(words)))])
    names = gguf.get_tensor_name_map(_arch(architecture), config["num_hidden_layers"])
    for name, tensor in tensors.items():
        name = name.removeprefix("model.")
        if name.startswith(NOT_IN_GGUF):
            continue
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert new is not None, name
        exact = tensor.ndim < 2 or new.startswith(("position_embd", "token_types"))
        written = gguf.GGMLQuantizationType.F32 if exact else kind
        writer.add_tensor(new, gguf.quants.quantize(np.ascontiguousarray(tensor), written), raw_dtype=written)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _arch(name: str) -> gguf.MODEL_ARCH:
    return next(arch for arch, known in gguf.MODEL_ARCH_NAMES.items() if known == name)


def _describe(writer: gguf.GGUFWriter, config: Mapping[str, Any], pooling: str) -> None:
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_pooling_type(POOLING[pooling])
    if config["model_type"] == "bert":
        writer.add_layer_norm_eps(config["layer_norm_eps"])
        writer.add_causal_attention(False)
        return
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_head_count_kv(config.get("num_key_value_heads") or config["num_attention_heads"])
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if config["model_type"] != "qwen2":  # of which llama.cpp's own converter says nothing
        writer.add_causal_attention(config["model_type"] == "qwen3")


def word_piece(writer: gguf.GGUFWriter, words: Sequence[str]) -> None:
    """Write a WordPiece vocabulary as llama.cpp wants it: word starts marked, in place of what continues a word."""
    special = [word.startswith("[") and word.endswith("]") for word in words]
    marked = [
        word if is_special else word[2:] if word.startswith("##") else "\u2581" + word
        for word, is_special in zip(words, special, strict=True)
    ]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(marked)
    writer.add_token_types([gguf.TokenType.CONTROL if is_special else gguf.TokenType.NORMAL for is_special in special])
    writer.add_token_type_count(2)
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_eos_token_id(words.index("[SEP]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_pad_token_id(words.index("[PAD]"))


def byte_level(writer: gguf.GGUFWriter, size: int) -> None:
    """Write a vocabulary in which every byte is a token, so that any text can be tokenised; the last one closes.

    Letters are merged in pairs and fours, so that a text has about as many tokens as with a real vocabulary.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    small = "abcdefghijklmnopqrstuvwxyz"
    pairs = [(a, b) for a in ["\u0120", *small] for b in small]  # the first is a space
    longer = [(a + b, c + d) for a, b in pairs for c, d in pairs if c != "\u0120"]
    merges = [*pairs, *longer][: size - 256 - 1]
    tokens = [*letters, *(a + b for a, b in merges)]
    normal = len(tokens)
    tokens += [f"<|unused{n}|>" for n in range(size - 1 - normal)] + ["<|end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    kinds = [gguf.TokenType.NORMAL] * normal + [gguf.TokenType.CONTROL] * (size - normal)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{a} {b}" for a, b in merges])
    writer.add_bos_token_id(size - 1)
    writer.add_eos_token_id(size - 1)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(True)
