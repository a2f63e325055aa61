"""Adapters and bases that do not belong together, by shape, by name, by what is tied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from edge_embed.errors import CorruptModelError, EdgeEmbedError, UnsupportedModelError
from edge_embed_convert.checkpoint.adapters import open_adapter
from edge_embed_convert.checkpoint.merge import Merged

from support.lora import (
    MORE,
    PARTS,
    SHAPES,
    A,
    B,
    Q,
    ones,
    written,
)

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
