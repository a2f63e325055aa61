"""E5-V's shape with random weights: Llama-3-8B, CLIP-L at 336 pixels, the projector; tensors made when asked for.

Nobody holds the 16 billion bytes of it: a tensor comes from a seed that is its name. The tokenizer has as many tokens
and merges as Llama 3's.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_embed.layouts.sentence_transformers import read_spec
from edge_embed_convert.checkpoint.source import Array, Source

NAME = "e5-v"  # facts on E5-V are found by it
CONFIG: dict[str, Any] = {
    "architectures": ["LlavaNextForConditionalGeneration"],
    "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
    "image_token_index": 128256,
    "model_type": "llava_next",
    "text_config": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 8192,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "rope_theta": 5e5,
        "vocab_size": 128320,
    },
    "vision_config": {
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "model_type": "clip_vision_model",
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "projection_dim": 768,
    },
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
}
PROCESSOR = {
    "crop_size": {"height": 336, "width": 336},
    "image_grid_pinpoints": CONFIG["image_grid_pinpoints"],
    "image_processor_type": "LlavaNextImageProcessor",
    "size": {"shortest_edge": 336},
}
MARKS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
WORDS, SPECIAL = 128_000, 256  # as Llama 3's; after them <image> and <pad>
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Random(Mapping[str, Array]):
    """Tensors by name, drawn anew each time that one is asked for: norms near 1, others with a deviation of 0.02."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = shapes

    def __getitem__(self, name: str) -> Array:
        shape = self._shapes[name]
        tensor = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
        tensor *= np.float32(0.02)
        if "norm" in name and name.endswith("weight"):
            tensor += 1
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without drawing it."""
        return self._shapes[name]


def source(folder: Path, layers: int = 32) -> Source:
    """Write the small files into a folder, which is called NAME, and return the checkpoint with so many layers."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**CONFIG, "text_config": {**CONFIG["text_config"], "num_hidden_layers": layers}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    spec = replace(read_spec(folder, NAME, None, [], {}), attention="causal")
    return Source(folder, spec, config, Random(shapes(config)), ())


def shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return every tensor's shape, under the names of transformers up to 4.51."""
    text, vision = config["text_config"], config["vision_config"]
    return {**_text(text), **_vision(vision), **_projector(vision["hidden_size"], text["hidden_size"])}


def _text(text: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    dim, inner, rows = text["hidden_size"], text["intermediate_size"], text["vocab_size"]
    keys = dim // text["num_attention_heads"] * text["num_key_value_heads"]
    found: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (rows, dim), "norm.weight": (dim,)}
    for n in range(text["num_hidden_layers"]):
        for name, shape in {
            "self_attn.q_proj": (dim, dim),
            "self_attn.k_proj": (keys, dim),
            "self_attn.v_proj": (keys, dim),
            "self_attn.o_proj": (dim, dim),
            "mlp.gate_proj": (inner, dim),
            "mlp.up_proj": (inner, dim),
            "mlp.down_proj": (dim, inner),
            "input_layernorm": (dim,),
            "post_attention_layernorm": (dim,),
        }.items():
            found[f"layers.{n}.{name}.weight"] = shape
    head = {"language_model.lm_head.weight": (rows, dim)}
    return {f"language_model.model.{name}": shape for name, shape in found.items()} | head


def _vision(vision: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    dim, inner, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    found: dict[str, tuple[int, ...]] = {
        "embeddings.class_embedding": (dim,),
        "embeddings.patch_embedding.weight": (dim, 3, patch, patch),
        "embeddings.position_embedding.weight": (1 + (vision["image_size"] // patch) ** 2, dim),
    }
    norms = ["pre_layrnorm", "post_layernorm"]
    for n in range(vision["num_hidden_layers"]):
        at = f"encoder.layers.{n}"
        norms += [f"{at}.layer_norm1", f"{at}.layer_norm2"]
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            found |= _linear(f"{at}.self_attn.{name}", dim, dim)
        found |= _linear(f"{at}.mlp.fc1", inner, dim) | _linear(f"{at}.mlp.fc2", dim, inner)
    for name in norms:
        found |= {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
    return {f"vision_tower.vision_model.{name}": shape for name, shape in found.items()}


def _projector(vision: int, dim: int) -> dict[str, tuple[int, ...]]:
    at = "multi_modal_projector.linear_"
    return {"image_newline": (dim,), **_linear(f"{at}1", dim, vision), **_linear(f"{at}2", dim, dim)}


def _linear(name: str, out: int, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, size), f"{name}.bias": (out,)}


def _tokenizer() -> dict[str, Any]:
    """Return a tokenizer.json: bytes, then all words of two, three and four letters until there are enough."""
    from tokenizers import pre_tokenizers

    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = {token: n for n, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[str] = []
    words = [*letters]
    while len(vocabulary) < WORDS:
        words = [word + letter for word in words for letter in letters]
        for word in words[: WORDS - len(vocabulary)]:
            vocabulary[word] = len(vocabulary)
            merges += [f"{word[:-1]} {word[-1]}", *([f"{word[0]} {word[1:]}"] if len(word) > 2 else [])]
    special = [*MARKS, *(f"<|reserved_{n}|>" for n in range(SPECIAL - len(MARKS))), "<image>", "<pad>"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    single = [{"SpecialToken": {"id": MARKS[0], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    first = {MARKS[0]: {"id": MARKS[0], "ids": [WORDS], "tokens": [MARKS[0]]}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": WORDS + n, "content": token, **flags} for n, token in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": first},
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges, "ignore_merges": True},
    }
