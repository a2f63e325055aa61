"""Merging LoRA adapters: every option against PEFT's own merge in float32, every refusal, and the file written."""

from __future__ import annotations

import json
import re
import tracemalloc
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch
from transformers import (
    AutoModel,
    EuroBertConfig,
    EuroBertModel,
    GPT2Config,
    GPT2Model,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
)

from edge_embed.errors import CorruptModelError, EdgeEmbedError, InputError, ModelNotFoundError, UnsupportedModelError
from edge_embed_convert.checkpoint.adapters import open_adapter
from edge_embed_convert.checkpoint.merge import Merged
from edge_embed_convert.checkpoint.safetensors import write_safetensors
from edge_embed_convert.checkpoint.source import Tensors

from support.places import MINIATURES

# PEFT warns of every option that is tested here: embeddings saved as well, magnitudes, ranks, tied weights.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # PEFT asks transformers for it
]

TOLERANCE = 1e-6  # measured: 4.8e-7 at most, for weights of up to 4; 6e-8 on the trained miniatures

TASKS = ("retrieval", "text-matching", "classification", "clustering")

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


def by_peft(base: Path, adapter: Path, kind: Any = AutoModel) -> dict[str, NDArray[np.float32]]:
    model = kind.from_pretrained(base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return {name: tensor.detach().numpy() for name, tensor in merged.state_dict().items()}


def by_us(base: Path, adapter: Path) -> Merged:
    return Merged(Tensors([base / "model.safetensors"]), open_adapter(adapter))


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


def test_the_smallest_config_uses_pefts_defaults(tmp_path: Path) -> None:
    merged = Merged(ones(SHAPES), open_adapter(written(tmp_path)))
    np.testing.assert_array_equal(merged[f"{Q}.weight"], 1 + 4 / 2 * 2)
    assert list(merged) == list(SHAPES)
    assert len(merged) == len(SHAPES)
    assert "lm_head.weight" not in merged
    with pytest.raises(KeyError, match="lm_head"):
        merged["lm_head.weight"]


UNSUPPORTED: dict[str, Any] = {
    "peft_type": "ADALORA",
    "bias": "some",
    "layer_replication": [[0, 4], [2, 5]],
    "trainable_token_indices": [1, 2],
    "target_parameters": ["experts.up"],
    "megatron_config": {"a": 1},
    "alora_invocation_tokens": [5],
    "arrow_config": {"top_k": 1},
    "kasa_config": {"beta": 1.0},
    "use_qalora": True,
    "use_bdlora": {"a": 1},
    "ensure_weight_tying": True,
    "invented_next_year": 0.5,
    "init_lora_weights": "pissa_niter_4",
}


@pytest.mark.parametrize(
    ("key", "value"), [*UNSUPPORTED.items(), *(("init_lora_weights", name) for name in ("olora", "corda", "loftq"))]
)
def test_what_is_not_implemented_is_refused_by_name(key: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=f"{key}={str(value)[:4] if isinstance(value, float) else ''}"):
        open_adapter(written(tmp_path, **{key: value}))


def test_keys_that_say_nothing_of_the_weights_are_left_alone(tmp_path: Path) -> None:
    idle = {
        "task_type": "FEATURE_EXTRACTION",
        "lora_dropout": 0.1,
        "megatron_core": "megatron.core",
        "revision": "main",
    }
    empty = {"layer_replication": None, "use_qalora": False, "loftq_config": {}, "trainable_token_indices": []}
    open_adapter(written(tmp_path, **idle, **empty, qalora_group_size=16, eva_config={"rho": 2}, invented=None))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"r": 0}, r"ranks \[0\] must be whole numbers above 0"),
        ({"r": ...}, "r=None must be int"),
        ({"rank_pattern": {"q_proj": 1.5}}, r"ranks \[2, 1.5\]"),
        ({"alpha_pattern": {"q_proj": "4"}}, r"alphas \[4, '4'\] must be numbers"),
        ({"lora_alpha": None}, "lora_alpha=None must be int or float"),
        ({"target_modules": None}, "target_modules=None must be list or str"),
        ({"modules_to_save": "norm"}, "modules_to_save='norm' must be list or null"),
    ],
)
def test_values_that_peft_cannot_have_written(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptModelError, match=message):
        open_adapter(written(tmp_path, **config))


def test_a_folder_that_is_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"has no adapter_config\.json: give the folder"):
        open_adapter(tmp_path / "nowhere")
    written(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(CorruptModelError, match="not a whole safetensors file"):
        open_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"has no adapter_model\.safetensors"):
        open_adapter(tmp_path)
    with pytest.raises(CorruptModelError, match="holds no tensor"):
        open_adapter(written(tmp_path, {}))
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(CorruptModelError, match="is not JSON"):
        open_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(CorruptModelError, match="holds a list, not an object"):
        open_adapter(tmp_path)


A, B = PARTS
MORE = "base_model.model."
K = "layers.0.self_attn.k_proj"
# what is wrong -> (config, adapter's shapes, error, message)
MISFITS: dict[str, tuple[dict[str, Any], dict[str, tuple[int, ...]], type[EdgeEmbedError], str]] = {
    "A without B": ({}, {A: (2, 6)}, CorruptModelError, rf"lacks {Q}.lora_B \(8, 2\) for '{Q}.weight' \(8, 6\); save"),
    "B without A": ({}, {B: (8, 2)}, CorruptModelError, rf"lacks {Q}.lora_A \(2, 6\) for '{Q}.weight' \(8, 6\); save"),
    "target without tensors": (
        {"target_modules": ["q_proj", "k_proj"]},
        PARTS,
        CorruptModelError,
        rf"lacks {K}.lora_A \(2, 6\) for '{K}.weight' \(4, 6\)",
    ),
    "all-linear without some": ({"target_modules": "all-linear"}, PARTS, CorruptModelError, rf"lacks {K}.lora_A"),
    "A of another width": (
        {},
        {**PARTS, A: (2, 7)},
        CorruptModelError,
        r"lora_A.weight' \(2, 7\) must be \(2, 6\) for",
    ),
    "B of another height": (
        {},
        {**PARTS, B: (6, 2)},
        CorruptModelError,
        r"lora_B.weight' \(6, 2\) must be \(8, 2\) for",
    ),
    "another rank": (
        {"rank_pattern": {Q: 3}},
        PARTS,
        CorruptModelError,
        r"\(2, 6\) must be \(3, 6\) .* at rank 3; merge",
    ),
    "transposed": ({"fan_in_fan_out": True}, PARTS, CorruptModelError, r"must be \(2, 8\) .* at rank 2, transposed"),
    "no such module": (
        {},
        {**PARTS, f"{MORE}layers.9.q_proj.lora_A.weight": (2, 6)},
        CorruptModelError,
        r"'base_model.model.layers.9.q_proj.lora_A.weight' \(2, 6\) has no place .* no 'layers.9.q_proj.weight'; merge",
    ),
    "no such tensor": ({}, {**PARTS, f"{MORE}classifier.weight": (3, 6)}, CorruptModelError, r"\(3, 6\) has no place"),
    "unknown part": ({}, {**PARTS, f"{MORE}{Q}.lora_diag": (2,)}, CorruptModelError, r"lora_diag' \(2,\) has no place"),
    "no such target": (
        {"target_modules": ["q_proj", "query"]},
        PARTS,
        CorruptModelError,
        r"is called \['query'\]; merge",
    ),
    "no such pattern": ({"target_modules": ".*query"}, PARTS, CorruptModelError, r"is called '\.\*query'; merge"),
    "not a target": (
        {"target_modules": ["k_proj"]},
        {**PARTS, f"{MORE}{K}.lora_A.weight": (2, 6), f"{MORE}{K}.lora_B.weight": (4, 2)},
        CorruptModelError,
        r"q_proj.lora_A.weight' \(2, 6\), .*q_proj.lora_B.weight' \(8, 2\): adapter_config.json puts no LoRA there",
    ),
    "not an expression": ({"target_modules": "(q_proj"}, PARTS, CorruptModelError, r"'\(q_proj' is not a regular"),
    "not 2-D": (
        {"target_modules": ["norm"]},
        {f"{MORE}layers.0.norm.lora_A.weight": (2, 6), f"{MORE}layers.0.norm.lora_B.weight": (6, 2)},
        UnsupportedModelError,
        r"'layers.0.norm.weight' \(6,\) has LoRA; only linear layers and tables",
    ),
    "two adapters": (
        {},
        {f"{MORE}{Q}.lora_A.one.weight": (2, 6), f"{MORE}{Q}.lora_A.two.weight": (2, 6), B: (8, 2)},
        CorruptModelError,
        r"lora_A.(one|two).weight' and .*lora_A.(one|two).weight' are the same part",
    ),
    "one module twice": (
        {"target_modules": "all-linear"},
        {**PARTS, f"{MORE}model.{Q}.lora_A.weight": (2, 6), f"{MORE}model.{Q}.lora_B.weight": (8, 2)},
        CorruptModelError,
        "changes a base tensor twice, under two names",
    ),
    "DoRA without magnitude": (
        {"use_dora": True},
        PARTS,
        CorruptModelError,
        r"lacks .*lora_magnitude_vector \(8,\) for",
    ),
    "magnitude without DoRA": (
        {},
        {**PARTS, f"{MORE}{Q}.lora_magnitude_vector": (8,)},
        CorruptModelError,
        r"lora_magnitude_vector' \(8,\) is of a kind that adapter_config.json denies",
    ),
    "magnitude of another size": (
        {"use_dora": True},
        {**PARTS, f"{MORE}{Q}.lora_magnitude_vector": (6,)},
        CorruptModelError,
        r"lora_magnitude_vector' \(6,\) must be \(8,\) for",
    ),
    "lora_bias without it": ({"lora_bias": True}, PARTS, CorruptModelError, r"lacks .*lora_B.bias \(8,\) for"),
    "lora_bias on nothing": (
        {"lora_bias": True, "target_modules": ["k_proj"]},
        {f"{MORE}{K}.lora_A.weight": (2, 6), f"{MORE}{K}.lora_B.weight": (4, 2), f"{MORE}{K}.lora_B.bias": (4,)},
        UnsupportedModelError,
        r"lora_B.bias' \(4,\) has no bias in the base to be added to",
    ),
    "bias not saved": (
        {"bias": "all"},
        PARTS,
        CorruptModelError,
        rf"lacks '{Q}.bias' for '{Q}.bias' \(8,\), .*bias='all'",
    ),
    "bias of another size": (
        {"bias": "all"},
        {**PARTS, f"{MORE}{Q}.base_layer.bias": (6,)},
        CorruptModelError,
        rf"q_proj.base_layer.bias' \(6,\) replaces '{Q}.bias', which is \(8,\); merge",
    ),
    "module not saved": (
        {"modules_to_save": ["norm"]},
        PARTS,
        CorruptModelError,
        r"lacks 'layers.0.norm.weight' for the base's 'layers.0.norm.weight' \(6,\), which modules_to_save names",
    ),
    "head that is not there": (
        {"target_modules": ["q_proj", "lm_head"]},
        {**PARTS, f"{MORE}lm_head.lora_A.weight": (2, 6), f"{MORE}lm_head.lora_B.weight": (10, 2)},
        UnsupportedModelError,
        r"lm_head.lora_A.weight' \(2, 6\) changes lm_head.weight, which the base ties or lacks; store the base untied",
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_an_adapter_and_a_base_that_do_not_belong_together(misfit: str, tmp_path: Path) -> None:
    config, parts, error, message = MISFITS[misfit]
    adapter = open_adapter(written(tmp_path, parts, **config))
    with pytest.raises(error, match=message):
        Merged(ones(SHAPES), adapter)


EMBEDDING = {"lora_embedding_A": (2, 10), "lora_embedding_B": (6, 2)}


@pytest.mark.parametrize(
    ("inside", "config", "head", "tied", "refused"),
    [
        ("", {}, False, False, False),
        ("", {}, False, True, False),  # a bare model has no head, whatever its config.json says
        ("model.", {}, False, False, True),
        ("", {"task_type": "CAUSAL_LM"}, False, False, True),
        ("model.", {"task_type": "CAUSAL_LM"}, True, False, False),
        ("model.", {"task_type": "CAUSAL_LM"}, True, True, True),
    ],
)
@pytest.mark.parametrize("saved", [False, True], ids=["LoRA", "saved whole"])
def test_one_side_of_tied_weights_is_not_changed_alone(
    saved: bool, inside: str, config: dict[str, Any], head: bool, tied: bool, refused: bool, tmp_path: Path
) -> None:
    parts = {f"{MORE}{inside}embed_tokens.{part}": shape for part, shape in EMBEDDING.items()}
    names: dict[str, Any] = {"target_modules": ["embed_tokens"]}
    if saved:
        parts = {f"{MORE}{inside}embed_tokens.weight": (10, 6)}
        names = {"target_modules": [], "modules_to_save": ["embed_tokens"]}
    base = ones({f"{inside}{name}": shape for name, shape in SHAPES.items()})
    base |= ones({"lm_head.weight": (10, 6)}) if head else {}
    adapter = open_adapter(written(tmp_path, parts, **names, **config))
    if refused:
        with pytest.raises(
            UnsupportedModelError, match=r"\(10, 6\), while lm_head.weight is tied .* store the base unt"
        ):
            Merged(base, adapter, tied=tied)
    else:
        np.testing.assert_array_equal(
            Merged(base, adapter, tied=tied)[f"{inside}embed_tokens.weight"], 1 if saved else 1 + 4 / 2 * 2
        )


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    written(tmp_path)
    damaged = {name: np.full(shape, np.nan, np.float32) for name, shape in PARTS.items()}
    save_file(damaged, tmp_path / "adapter_model.safetensors")
    with pytest.raises(CorruptModelError, match=r"lora_A.weight' holds NaN or infinity"):
        Merged(ones(SHAPES), open_adapter(tmp_path))[f"{Q}.weight"]
    written(tmp_path, {**PARTS, f"{MORE}{Q}.lora_magnitude_vector": (8,)}, use_dora=True)
    base = {**ones(SHAPES), f"{Q}.weight": np.full((8, 6), -4, np.float32)}  # what LoRA adds makes it 0
    with pytest.raises(CorruptModelError, match=f"tensor '{Q}.weight' holds NaN or infinity once merged"):
        Merged(base, open_adapter(tmp_path))[f"{Q}.weight"]


class Watched(Mapping[str, NDArray[np.float32]]):
    """A base that knows its shapes, counts what is read, and refuses to be read while an earlier tensor is alive."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes, self.read, self._last = shapes, [], lambda: None

    def shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        assert self._last() is None, f"{self.read[-1]} is still held"
        self.read.append(name)
        tensor = np.ones(self.shapes[name], np.float32)
        self._last = weakref.ref(tensor)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def test_nothing_is_read_before_it_is_asked_for_and_nothing_is_kept(tmp_path: Path) -> None:
    base = Watched(SHAPES)
    merged = Merged(base, open_adapter(written(tmp_path)))
    assert f"{Q}.weight" in merged
    assert merged.shape(f"{Q}.weight") == (8, 6)
    assert base.read == []
    write_safetensors(merged, tmp_path / "model.safetensors")
    assert base.read == list(SHAPES)


def test_a_plain_base_is_left_as_it_was(tmp_path: Path) -> None:
    base = ones(SHAPES)
    dict(Merged(base, open_adapter(written(tmp_path))))
    assert all((tensor == 1).all() for tensor in base.values())


def test_memory_is_one_copy_of_the_tensor_beside_the_output(tmp_path: Path) -> None:
    shape = (2048, 1024)
    save_file(ones({f"{Q}.weight": shape}), tmp_path / "model.safetensors")
    parts = {A: (2, 1024), B: (2048, 2), f"{MORE}{Q}.lora_magnitude_vector": (2048,)}
    merged = by_us(tmp_path, written(tmp_path, parts, use_dora=True))
    tracemalloc.start()
    tensor = merged[f"{Q}.weight"]
    peak = tracemalloc.get_traced_memory()[1] / tensor.nbytes
    tracemalloc.stop()
    assert peak < 2.3  # two copies, and one byte an element while it is asked whether all are finite


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_file_loads_elsewhere(dtype: str, tmp_path: Path) -> None:
    base, adapter = make(tmp_path, "eurobert", target_modules=SEVEN)
    merged = by_us(base, adapter)
    (base / "model.safetensors").rename(tmp_path / "model.safetensors")
    merged = Merged(Tensors([tmp_path / "model.safetensors"]), open_adapter(adapter))
    write_safetensors(merged, base / "model.safetensors", dtype)
    loaded = load_torch(base / "model.safetensors")
    assert set(loaded) == set(merged)
    for name, tensor in loaded.items():
        expected = torch.from_numpy(merged[name]).to(getattr(torch, dtype))
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected)
    model, info = EuroBertModel.from_pretrained(base, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert torch.equal(model.state_dict()["norm.weight"], loaded["norm.weight"].float())
    again = Tensors([base / "model.safetensors"])
    assert all(np.array_equal(again[name], loaded[name].float().numpy()) for name in loaded)


def test_odd_shapes_and_names_survive(tmp_path: Path) -> None:
    tensors = {
        "é": np.float32(3).reshape(()),
        "empty": np.zeros((0, 4), np.float32),
        "odd": np.arange(3, dtype=np.float32),
    }
    for dtype in ("float32", "float16"):
        write_safetensors({**tensors, "view": np.eye(3, dtype=np.float32)[:, 1:]}, tmp_path / "x.safetensors", dtype)
        loaded = load_file(tmp_path / "x.safetensors")
        assert loaded["é"].shape == ()
        assert loaded["empty"].shape == (0, 4)
        np.testing.assert_array_equal(loaded["odd"], [0, 1, 2])
        np.testing.assert_array_equal(loaded["view"], np.eye(3)[:, 1:])


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    class Failing(Watched):
        def __getitem__(self, name: str) -> NDArray[np.float32]:
            if name == "b":
                raise CorruptModelError("damaged")
            return super().__getitem__(name)

    path = tmp_path / "model.safetensors"
    path.write_bytes(b"older")
    with pytest.raises(CorruptModelError, match="damaged"):
        write_safetensors(Failing({"a": (2, 2), "b": (2,)}), path)
    with pytest.raises(InputError, match=r"tensor 'a' holds a value that float16 cannot; write bfloat16 or float32"):
        write_safetensors({"a": np.full(2, 1e5, np.float32)}, path, "float16")
    with pytest.raises(InputError, match="cannot write dtype 'int8': choose from 'bfloat16', 'float16', 'float32'"):
        write_safetensors({}, path, "int8")
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert path.read_bytes() == b"older"
    write_safetensors({"a": np.full(2, 1e5, np.float32)}, path, "bfloat16")
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert list(load_torch(path)) == ["a"]
