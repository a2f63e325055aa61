"""Merging LoRA adapters: every option against PEFT's own merge in float32."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.numpy import load_file, save_file
from transformers import (
    AutoModel,
)

from edge_embed.errors import UnsupportedModelError
from edge_embed_convert.checkpoint.adapters import open_adapter
from edge_embed_convert.checkpoint.merge import Merged

from support.lora import (
    BASES,
    SEVEN,
    by_us,
    make,
)
from support.marks import PEFT
from support.places import MINIATURES

pytestmark = PEFT


TOLERANCE = 1e-6  # measured: 4.8e-7 at most, for weights of up to 4; 6e-8 on the trained miniatures


TASKS = ("retrieval", "text-matching", "classification", "clustering")


ATTENTION = SEVEN[:4]


PATTERNS: dict[str, Any] = {
    "rank_pattern": {"layers.1.self_attn.q_proj": 2, r"layers\.\d+\.mlp\..*": 5, "v_proj": 3},
    "alpha_pattern": {"^layers.0.self_attn.q_proj": 7, "down_proj": 1, r"self_attn\.[vo]_proj": 3},
}


# name -> (base, LoraConfig's values)
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("qwen3", {"target_modules": SEVEN}),
    "eurobert": ("eurobert", {"target_modules": SEVEN}),
    "head": ("qwen3-lm", {"target_modules": [*SEVEN, "lm_head"], "task_type": "CAUSAL_LM"}),
    "tied-untouched": ("qwen3-lm-tied", {"target_modules": SEVEN, "task_type": "CAUSAL_LM"}),
    "rslora": ("qwen3", {"target_modules": SEVEN, "r": 6, "use_rslora": True}),
    "patterns": ("qwen3", {"target_modules": SEVEN, **PATTERNS}),
    "patterns-rslora": ("eurobert", {"target_modules": SEVEN, "use_rslora": True, **PATTERNS}),
    "regex": ("qwen3", {"target_modules": r"(?i).*\.1\..*(q|V|up)_proj"}),
    "full-names": ("qwen3", {"target_modules": ["layers.0.mlp.up_proj", "layers.1.self_attn.o_proj"]}),
    "all-linear": ("eurobert", {"target_modules": "all-linear"}),
    "all-linear-head": ("qwen3-lm", {"target_modules": "all-linear", "task_type": "CAUSAL_LM"}),
    "exclude-list": ("qwen3", {"target_modules": SEVEN, "exclude_modules": ["0.self_attn.q_proj", "up_proj"]}),
    "exclude-regex": ("qwen3", {"target_modules": SEVEN, "exclude_modules": r".*\.0\..*"}),
    "layers": ("qwen3", {"target_modules": SEVEN, "layers_to_transform": [1], "layers_pattern": "layers"}),
    "layer": ("qwen3-lm", {"target_modules": SEVEN, "layers_to_transform": 1}),
    "fan-in-fan-out": ("gpt2", {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}),
    "dora": ("qwen3", {"target_modules": SEVEN, "use_dora": True}),
    "dora-rslora": ("eurobert", {"target_modules": SEVEN, "use_dora": True, "use_rslora": True, **PATTERNS}),
    "dora-fan-in-fan-out": ("gpt2", {"target_modules": ["c_attn", "c_fc"], "use_dora": True, "fan_in_fan_out": True}),
    "bias-all": ("gpt2", {"target_modules": ["c_fc"], "bias": "all", "fan_in_fan_out": True}),
    "bias-lora-only": ("qwen3-bias", {"target_modules": ["q_proj", "up_proj"], "bias": "lora_only"}),
    "bias-without": ("qwen3", {"target_modules": SEVEN, "bias": "all"}),
    "lora-bias": ("qwen3-bias", {"target_modules": ATTENTION, "lora_bias": True}),
    "lora-bias-and-bias": ("qwen3-bias", {"target_modules": ATTENTION, "lora_bias": True, "bias": "all"}),
    "modules-to-save": ("qwen3", {"target_modules": ["q_proj"], "modules_to_save": ["norm", "layers.1.mlp"]}),
    "table-to-save": ("eurobert", {"target_modules": SEVEN, "modules_to_save": ["embed_tokens"]}),
    "saved-not-targeted": ("qwen3", {"target_modules": SEVEN, "modules_to_save": ["up_proj"]}),
    "embedding": ("qwen3", {"target_modules": ["embed_tokens", "q_proj"]}),
    "embedding-dora": ("eurobert", {"target_modules": ["embed_tokens", "o_proj"], "use_dora": True}),
    "embedding-untied": ("qwen3-lm", {"target_modules": ["embed_tokens", "lm_head"], "task_type": "CAUSAL_LM"}),
    "gaussian": ("qwen3", {"target_modules": SEVEN, "init_lora_weights": "gaussian"}),
    "orthogonal": ("qwen3", {"target_modules": SEVEN, "init_lora_weights": "orthogonal"}),
    "mica": ("qwen3", {"target_modules": SEVEN, "init_lora_weights": "mica"}),
}


def by_peft(base: Path, adapter: Path, kind: Any = AutoModel) -> dict[str, NDArray[np.float32]]:
    model = kind.from_pretrained(base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return {name: tensor.detach().numpy() for name, tensor in merged.state_dict().items()}


def difference(merged: Mapping[str, NDArray[np.float32]], expected: Mapping[str, NDArray[np.float32]]) -> float:
    """Return the largest difference of an element; names, shapes and dtype must be the same."""
    assert set(merged) == set(expected)
    for name in merged:
        assert merged[name].shape == expected[name].shape
        assert merged[name].dtype == np.float32
    return max(float(np.abs(merged[name] - expected[name]).max()) for name in merged)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_as_peft_merges_it(option: str, tmp_path: Path) -> None:
    base_name, options = OPTIONS[option]
    base, adapter = make(tmp_path, base_name, **options)
    expected = by_peft(base, adapter, type(BASES[base_name]()))
    if base_name == "qwen3-lm-tied":
        del expected["lm_head.weight"]  # tied: the file has it once
    merged = by_us(base, adapter)
    original = load_file(base / "model.safetensors")
    assert difference(original, expected) > 0.1, "the adapter changes something"
    assert difference(merged, expected) <= TOLERANCE
    for name, tensor in merged.items():
        assert merged.shape(name) == tensor.shape


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("base", ["mini-qwen3", "mini-eurobert"])
def test_trained_adapters_as_peft_merges_them(base: str, task: str) -> None:
    folder = MINIATURES / base
    if not folder.is_dir():
        pytest.skip("the trained miniatures are not on this machine")
    adapter = folder / "adapters" / task
    assert difference(by_us(folder, adapter), by_peft(folder, adapter)) <= TOLERANCE


def test_an_adapter_that_pissa_started_merges_once_converted(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = BASES["qwen3"]()
    model.save_pretrained(tmp_path / "base")
    lora = get_peft_model(model, LoraConfig(r=4, target_modules=SEVEN, init_lora_weights="pissa"))
    lora.peft_config["default"].init_lora_weights = True  # PEFT's own steps: save the start, train, save with its path
    lora.save_pretrained(tmp_path / "start")
    for parameter in lora.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    lora.peft_config["default"].init_lora_weights = "pissa"
    lora.save_pretrained(tmp_path / "raw")
    with pytest.raises(UnsupportedModelError, match=r"init_lora_weights='pissa'.*path_initial_model_for_weight_conv"):
        open_adapter(tmp_path / "raw")
    lora.save_pretrained(tmp_path / "adapter", path_initial_model_for_weight_conversion=str(tmp_path / "start"))
    expected = {name: tensor.detach().numpy() for name, tensor in lora.merge_and_unload().state_dict().items()}
    assert (
        difference(by_us(tmp_path / "base", tmp_path / "adapter"), expected) <= 10 * TOLERANCE
    )  # PEFT rounds its base twice


RENAMINGS: dict[str, Callable[[str], str]] = {
    "as PEFT writes them": lambda name: name,
    "with the adapter's name": lambda name: re.sub(r"\.lora_(A|B)\.", r".lora_\1.retrieval.", name),
    "magnitudes as modules": lambda name: name.replace("lora_magnitude_vector", "lora_magnitude_vector.default.weight"),
    "for a model with a head": lambda name: name.replace("base_model.model.", "base_model.model.model."),
    "without PEFT's prefix": lambda name: name.removeprefix("base_model.model."),
    "saved modules as in memory": lambda name: name.replace("norm.weight", "norm.modules_to_save.default.weight"),
}


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare base", "base with a head"])
@pytest.mark.parametrize("renaming", RENAMINGS)
def test_names_find_their_tensor_whatever_is_in_front(renaming: str, wrapped: bool, tmp_path: Path) -> None:
    options = {
        "target_modules": r"(model\.)?layers\.\d\..*_proj",
        "rank_pattern": {"layers.0.mlp.up_proj": 2},
    }
    base, adapter = make(tmp_path, "qwen3", **options, use_dora=True, modules_to_save=["1.input_layernorm"])
    expected = by_peft(base, adapter)
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file({RENAMINGS[renaming](name): t for name, t in tensors.items()}, adapter / "adapter_model.safetensors")
    plain: Mapping[str, NDArray[np.float32]] = load_file(base / "model.safetensors")
    if wrapped:
        plain = {f"model.{name}": tensor for name, tensor in plain.items()} | {"lm_head.weight": np.ones((50, 32))}
        expected = {f"model.{name}": tensor for name, tensor in expected.items()}
    merged = dict(Merged(plain, open_adapter(adapter)))
    if wrapped:
        np.testing.assert_array_equal(merged.pop("lm_head.weight"), 1)
    assert difference(merged, expected) <= TOLERANCE
