"""Tiny bases and LoRA adapters: made by PEFT with random weights, or written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from safetensors.numpy import save_file
from transformers import (
    EuroBertConfig,
    EuroBertModel,
    GPT2Config,
    GPT2Model,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
)

from edge_embed_convert.checkpoint.adapters import open_adapter
from edge_embed_convert.checkpoint.merge import Merged
from edge_embed_convert.checkpoint.source import Tensors

SHAPE = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}


HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}


BASES: dict[str, Callable[[], PreTrainedModel]] = {
    "qwen3": lambda: Qwen3Model(Qwen3Config(**SHAPE, **HEADS)),
    "qwen3-bias": lambda: Qwen3Model(Qwen3Config(**SHAPE, **HEADS, attention_bias=True)),
    "qwen3-lm": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, **HEADS, tie_word_embeddings=False)),
    "qwen3-lm-tied": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, **HEADS, tie_word_embeddings=True)),
    "eurobert": lambda: EuroBertModel(EuroBertConfig(**SHAPE, **HEADS, bos_token_id=1, eos_token_id=2)),
    "gpt2": lambda: GPT2Model(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=16)),
}


SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make(folder: Path, base: str, **options: Any) -> tuple[Path, Path]:
    """Save a tiny base, and a LoRA of it in which everything that can be trained is random -> their folders."""
    torch.manual_seed(3)
    model = BASES[base]()
    for parameter in model.parameters():  # biases start at 0 and norms at 1, where mistakes do not show
        parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder / "base")
    lora = get_peft_model(model, LoraConfig(**{"r": 4, "lora_alpha": 6, **options}))
    for parameter in lora.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    lora.save_pretrained(folder / "adapter")
    if options["target_modules"] == "all-linear":  # of which PEFT writes what it stood for
        edit_config(folder / "adapter", target_modules="all-linear")
    return folder / "base", folder / "adapter"


def edit_config(adapter: Path, **values: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def by_us(base: Path, adapter: Path) -> Merged:
    return Merged(Tensors([base / "model.safetensors"]), open_adapter(adapter))


Q = "layers.0.self_attn.q_proj"


LORA: dict[str, Any] = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}


PARTS = {f"base_model.model.{Q}.lora_A.weight": (2, 6), f"base_model.model.{Q}.lora_B.weight": (8, 2)}


SHAPES = {
    "embed_tokens.weight": (10, 6),
    f"{Q}.weight": (8, 6),
    f"{Q}.bias": (8,),
    "layers.0.self_attn.k_proj.weight": (4, 6),
    "layers.0.norm.weight": (6,),
}


def ones(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


def written(folder: Path, parts: Mapping[str, tuple[int, ...]] = PARTS, **config: Any) -> Path:
    """Write an adapter by hand; a config value of ... leaves its key out."""
    values = {key: value for key, value in {**LORA, **config}.items() if value is not ...}
    (folder / "adapter_config.json").write_text(json.dumps(values))
    save_file(ones(parts), folder / "adapter_model.safetensors")
    return folder


A, B = PARTS


MORE = "base_model.model."
