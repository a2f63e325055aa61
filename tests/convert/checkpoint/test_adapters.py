"""Adapters: what PEFT may write, and every value that is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_embed.errors import CorruptModelError, ModelNotFoundError, UnsupportedModelError
from edge_embed_convert.checkpoint.adapters import open_adapter
from edge_embed_convert.checkpoint.merge import Merged

from support.lora import (
    SHAPES,
    Q,
    ones,
    written,
)
from support.marks import PEFT

pytestmark = PEFT


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
