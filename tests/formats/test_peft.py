"""PEFT's adapter_config.json: what it means for each module, against PEFT's own functions, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.formats.peft import read_lora_config, sort_tensors

MODULES = [
    *(f"{prefix}layers.{n}.self_attn.{x}_proj" for prefix in ("", "model.") for n in (0, 1, 11) for x in "qv"),
    *(f"model.layers.{n}.mlp.experts.{m}.up_proj" for n in (0, 1) for m in (0, 1)),
    *("q_proj", "model.embed_tokens", "lm_head", "layers.1.odd+name", "layers.1.norm"),
]
PLAIN: dict[str, Any] = {"peft_type": "LORA", "r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"]}
CONFIGS: dict[str, dict[str, Any]] = {
    "ends": {},
    "full names": {"target_modules": ["layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj"]},
    "expression": {"target_modules": r"model\.layers\.1\..*(q|up)_proj"},
    "excluded": {"exclude_modules": ["0.self_attn.q_proj"]},
    "excluded by expression": {"exclude_modules": r".*\.1\..*"},
    "excluded by nothing": {"exclude_modules": ""},
    "saved whole": {"target_modules": ["q_proj", "v_proj", "norm"], "modules_to_save": ["norm", "self_attn.v_.*"]},
    "layers": {"layers_to_transform": [1, 11]},
    "layer": {"layers_to_transform": 0},
    "no layers": {"layers_to_transform": []},
    "layers by pattern": {"target_modules": ["up_proj"], "layers_to_transform": [1], "layers_pattern": ["h", "layers"]},
    "inner pattern": {"target_modules": ["up_proj"], "layers_to_transform": [1], "layers_pattern": "experts"},
    "ranks": {"rank_pattern": {"^layers.0.*q_proj": 2, r"layers\.\d+\.self_attn\.v_proj": 3, "q_proj": 5}},
    "a rank by its literal name": {"rank_pattern": {"layers.1.odd+name": 7}},
    "alphas": {"alpha_pattern": {"model.layers.0.self_attn.q_proj": 32, "self_attn.[vo]_proj": 0.5}},
    "stabilised": {"use_rslora": True, "rank_pattern": {"v_proj": 9}, "alpha_pattern": {"q_proj": 1}},
}


def written(folder: Path, **values: Any) -> Path:
    """Write a config by hand; a value of ... leaves its key out."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({key: value for key, value in {**PLAIN, **values}.items() if value is not ...}))
    return path


@pytest.mark.parametrize("name", CONFIGS)
def test_modules_ranks_and_scales_are_pefts(name: str, tmp_path: Path) -> None:
    from peft import LoraConfig
    from peft.tuners.tuners_utils import check_target_module_exists
    from peft.utils.other import get_pattern_key

    exact = LoraConfig(**{key: value for key, value in {**PLAIN, **CONFIGS[name]}.items() if key != "peft_type"})
    exact.save_pretrained(tmp_path)
    config = read_lora_config(tmp_path / "adapter_config.json")
    for module in MODULES:
        assert config.targets(module, 2) == bool(check_target_module_exists(exact, module)), module
        rank = exact.rank_pattern.get(get_pattern_key(exact.rank_pattern.keys(), module), exact.r)
        alpha = exact.alpha_pattern.get(get_pattern_key(exact.alpha_pattern.keys(), module), exact.lora_alpha)
        assert config.rank(module) == rank
        assert config.scale(module) == pytest.approx(alpha / (math.sqrt(rank) if exact.use_rslora else rank))


def test_all_linear_leaves_out_tables_and_heads(tmp_path: Path) -> None:
    config = read_lora_config(written(tmp_path, target_modules="All-Linear", exclude_modules=["v_proj"]))
    assert config.all_linear
    assert [module for module in MODULES if config.targets(module, 2) and "layers.0" not in module] == [
        *("layers.1.self_attn.q_proj", "layers.11.self_attn.q_proj"),
        *("model.layers.1.self_attn.q_proj", "model.layers.11.self_attn.q_proj"),
        *("model.layers.1.mlp.experts.0.up_proj", "model.layers.1.mlp.experts.1.up_proj"),
        *("q_proj", "layers.1.odd+name", "layers.1.norm"),
    ]
    assert not config.targets("layers.1.norm", 1)


def test_the_smallest_config_has_pefts_defaults(tmp_path: Path) -> None:
    config = read_lora_config(written(tmp_path))
    assert (config.bias, config.task_type, config.modules_to_save, config.layers_to_transform) == ("none", None, (), ())
    assert not any((config.use_rslora, config.use_dora, config.fan_in_fan_out, config.lora_bias))


@pytest.mark.parametrize("init", [True, False, None, "gaussian", "Gaussian", "eva", "orthogonal", "mica"])
def test_starts_that_leave_the_base_as_it_was(init: object, tmp_path: Path) -> None:
    configs = {"eva_config": {"rho": 2}, "corda_config": {"a": 1}, "loftq_config": {"a": 1}, "lora_ga_config": {"a": 1}}
    read_lora_config(written(tmp_path, init_lora_weights=init, **configs))


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "none", 1])
def test_starts_that_may_have_changed_the_base(init: object, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=f"init_lora_weights={init!r} may have changed the base's weights"):
        read_lora_config(written(tmp_path, init_lora_weights=init))


def test_what_is_not_lora_or_not_known_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="peft_type='IA3' is not implemented; 'LORA' is"):
        read_lora_config(written(tmp_path, peft_type="IA3"))
    with pytest.raises(UnsupportedModelError, match=r"invented=0\.5, use_qalora=True is not implemented; merge"):
        read_lora_config(written(tmp_path, use_qalora=True, invented=0.5))
    with pytest.raises(UnsupportedModelError, match="bias='some' is not implemented"):
        read_lora_config(written(tmp_path, bias="some"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"r": ...}, "r=None must be int; save the adapter again"),
        ({"r": True}, "r=True must be int"),
        ({"r": 4.0}, r"r=4.0 must be int"),
        ({"r": -1}, r"ranks \[-1\] must be whole numbers above 0"),
        ({"r": 10**400}, r"ranks \[1000"),
        ({"rank_pattern": ["q_proj"]}, r"rank_pattern=\['q_proj'\] must be dict or null"),
        ({"rank_pattern": {"q_proj": 0}}, r"ranks \[4, 0\]"),
        ({"lora_alpha": math.nan}, r"alphas \[nan\] must be numbers"),
        ({"lora_alpha": 10**400}, r"alphas \[1000"),
        ({"alpha_pattern": {"q_proj": None}}, r"alphas \[6, None\]"),
        ({"target_modules": ...}, "target_modules=None must be list or str"),
        ({"target_modules": ["q_proj", 3]}, r"target_modules=\['q_proj', 3\] must hold str"),
        ({"layers_to_transform": ["1"]}, r"layers_to_transform=\['1'\] must hold int"),
        ({"modules_to_save": "norm"}, "modules_to_save='norm' must be list or null"),
    ],
)
def test_values_that_peft_cannot_have_written(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptModelError, match=message):
        read_lora_config(written(tmp_path, **values))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("\xff", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "holds a list, not an object; fetch it again"),
        ("null", "holds a NoneType, not an object"),
    ],
)
def test_files_that_are_no_config(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "adapter_config.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptModelError, match=message):
        read_lora_config(path)


@pytest.mark.parametrize("pattern", ["(q_proj", "a{99999999999}", "(" * 5000 + ")" * 5000])
def test_what_is_no_regular_expression(pattern: str, tmp_path: Path) -> None:
    config = read_lora_config(written(tmp_path, target_modules=pattern, rank_pattern={pattern: 3}))
    for ask in (lambda: config.targets("q_proj", 2), lambda: config.rank("q_proj")):
        with pytest.raises(CorruptModelError, match=r"is not a regular expression: .*; correct it"):
            ask()


def test_tensors_are_sorted_by_module_and_part() -> None:
    names = {
        "base_model.model.layers.0.q_proj.lora_A.weight": ("layers.0.q_proj", "lora_A"),
        "base_model.model.layers.0.q_proj.lora_B.default.weight": ("layers.0.q_proj", "lora_B"),
        "base_model.model.layers.0.q_proj.lora_B.default.bias": ("layers.0.q_proj", "lora_B.bias"),
        "layers.0.q_proj.lora_magnitude_vector": ("layers.0.q_proj", "lora_magnitude_vector"),
        "base_model.model.embed_tokens.lora_embedding_A": ("embed_tokens", "lora_embedding_A"),
    }
    replaced = {
        "base_model.model.layers.0.q_proj.base_layer.bias": "layers.0.q_proj.bias",
        "base_model.model.norm.modules_to_save.default.weight": "norm.weight",
    }
    parts, replacements = sort_tensors([*names, *replaced])
    assert {tensor: (module, part) for module, own in parts.items() for part, tensor in own.items()} == names
    assert replacements == {path: tensor for tensor, path in replaced.items()}
    with pytest.raises(CorruptModelError, match=r"'a.lora_A.two.weight' and 'a.lora_A.one.weight' are the same part"):
        sort_tensors(["a.lora_A.one.weight", "a.lora_A.two.weight"])
