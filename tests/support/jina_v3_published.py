"""A tiny jina-embeddings-v3 as it is published: other names, and LoRA factors of five tasks beside each weight."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from . import tiny

TASKS = ["retrieval.query", "retrieval.passage", "separation", "classification", "text-matching"]
RANK, ALPHA = 3, 2
PROMPTS = {
    **dict.fromkeys(TASKS[2:], ""),
    "retrieval.query": "Represent the query for retrieving evidence documents: ",
    "retrieval.passage": "Represent the document for retrieval: ",
}
# What jinaai/jina-embeddings-v3 publishes beside the sizes.
CONFIG: dict[str, Any] = {
    "model_type": "xlm-roberta",
    "architectures": ["XLMRobertaModel"],
    "auto_map": {"AutoModel": "jinaai/xlm-roberta-flash-implementation--modeling_lora.XLMRobertaLoRA"},
    "emb_pooler": "mean",
    "load_trained_adapters": True,
    "lora_adaptations": TASKS,
    "lora_alpha": ALPHA,
    "lora_dropout_p": 0.0,
    "lora_main_params_trainable": False,
    "lora_rank": RANK,
    "matryoshka_dimensions": [8, 16, 32],
    "position_embedding_type": "rotary",
    "rotary_emb_base": 5000.0,
    "task_instructions": PROMPTS,
    "truncate_dim": None,
    "use_flash_attn": True,
    "use_reg_tokens": False,
}


def make(folder: Path) -> dict[str | None, Any]:
    """Save the checkpoint to the folder; return transformers' model of each task, and of none."""
    rope = {"rope_type": "default", "rope_theta": CONFIG["rotary_emb_base"]}
    model = tiny.make("jina_embeddings_v3", folder, rope_parameters=rope, max_position_embeddings=256)
    plain = load_file(folder / "model.safetensors")
    factors = {name: _factors(name, value) for name, value in plain.items() if value.dim() == 2}
    stored = {f"roberta.{name}": value for name, value in plain.items() if name not in factors}
    for name, (a, b) in factors.items():
        stem = f"roberta.{name.removesuffix('weight')}parametrizations.weight"
        stored |= {f"{stem}.original": plain[name], f"{stem}.0.lora_A": a, f"{stem}.0.lora_B": b}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**_without(config, "rope_parameters"), **CONFIG}))
    prompts = {"prompts": PROMPTS, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 128}))
    merged: dict[str | None, Any] = {None: model}
    for n, task in enumerate(TASKS):
        changed = dict(plain)
        for name, (a, b) in factors.items():
            added = a[n] @ b[n] if _is_table(name) else b[n] @ a[n]
            changed[name] = plain[name] + added * (ALPHA / RANK)
        merged[task] = _with_weights(model, changed)
    return merged


def _with_weights(model: Any, weights: dict[str, Tensor]) -> Any:
    """Return a copy of transformers' model with weights by the published names."""
    made = copy.deepcopy(model)
    state = {}
    for name, value in weights.items():
        name = name.replace("emb_ln", "embeddings.LayerNorm").replace("encoder.layers", "layers")
        name = name.replace("norm1", "post_attention_layernorm").replace("norm2", "post_mlp_layernorm")
        name = name.replace("mixer.out_proj", "self_attn.o_proj")
        if "mixer.Wqkv" in name:
            parts = zip("qkv", value.chunk(3), strict=True)
            state |= {name.replace("mixer.Wqkv", f"self_attn.{x}_proj"): part for x, part in parts}
        else:
            state[name] = value
    made.load_state_dict(state)
    return made


def _is_table(name: str) -> bool:
    return "embeddings" in name.split(".")[-2]


def _factors(name: str, weight: Tensor) -> tuple[Tensor, Tensor]:
    rows, size = weight.shape
    first, second = (rows, RANK) if _is_table(name) else (RANK, size), (RANK, size) if _is_table(name) else (rows, RANK)
    return torch.randn(len(TASKS), *first) * 0.3, torch.randn(len(TASKS), *second) * 0.3


def _without(config: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != key}
