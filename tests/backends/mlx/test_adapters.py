"""MLX adapters beside one base: switched as PEFT computes them, or refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from edge_embed import CorruptModelError, InputError, UnsupportedModelError
from edge_embed.backends import Batch
from edge_embed.backends.mlx.backend import load

from support import tiny
from support.marks import PEFT
from support.mlx_folders import TOLERANCE, WEIGHTS, expected, pooled, quantise, some_ids, spec_of

pytestmark = PEFT


def adapters_of(folder: Path, **tasks: dict[str, Any]) -> tuple[dict[str, Path], dict[str, Any]]:
    """Make PEFT adapters with random factors -> their folders, and the models that wrote them."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    folders, models = {}, {}
    for seed, (task, values) in enumerate(tasks.items()):
        torch.manual_seed(seed)
        wanted = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"], **values}
        model = get_peft_model(AutoModel.from_pretrained(folder).eval(), LoraConfig(**wanted)).eval()
        for name, parameter in model.named_parameters():
            if "lora_" in name:  # one of the two begins as 0
                parameter.data += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(folder / "adapters" / task)
        folders[task], models[task] = folder / "adapters" / task, model
    return folders, models


def test_switching_equals_peft(folder: Path) -> None:
    """Other ranks, scales and layers a task."""
    folders, models = adapters_of(
        folder,
        plain={},
        stable={"use_rslora": True, "r": 7},
        patterns={"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.0.*v_proj": 32}},
        other={"target_modules": ["gate_proj"]},
        started={"init_lora_weights": "mica", "target_modules": r"(?i).*Layers\.1\..*up_proj"},
    )
    backend = load(folder, replace(spec_of(folder), task="stable"), WEIGHTS, 1, folders)
    ids = some_ids(12, 33)
    for task in ("stable", "plain", "other", "patterns", "started", "plain"):
        backend.use_task(task)
        vectors = [pooled(rows, "last") for rows in backend.forward(Batch(ids))]
        alone = [pooled(backend.forward(Batch([row]))[0], "last") for row in ids]
        np.testing.assert_allclose(vectors, expected(models[task], ids, "last"), atol=TOLERANCE)  # 4e-7 was measured
        np.testing.assert_allclose(alone, vectors, atol=TOLERANCE)  # the compiled graph switches too
        (kept,) = backend.forward(Batch(ids[:1], prefix_length=8))  # and the prompt's keys and values
        np.testing.assert_allclose(pooled(kept, "last"), vectors[0], atol=TOLERANCE)
    with pytest.raises(InputError, match="unknown task 'retrieval': there are adapters for 'other', 'patterns',"):
        backend.use_task("retrieval")
    with pytest.raises(InputError, match="unknown task 'retrieval'"):
        load(folder, replace(spec_of(folder), task="retrieval"), WEIGHTS, 1, folders)
    backend.close()


def test_patterns_mean_the_names_of_the_model_that_was_trained(folder: Path) -> None:
    """An adapter of a model with a head has a prefix before every name; what steers the start alone says nothing."""
    from peft import PeftModel
    from transformers import AutoModel

    patterns = {"rank_pattern": {"^layers.0.self_attn.q_proj": 2}, "target_modules": ["layers.0.self_attn.q_proj"]}
    folders, _ = adapters_of(folder, bare=patterns)
    exact = PeftModel.from_pretrained(AutoModel.from_pretrained(folder), folders["bare"]).eval()
    folders["headed"] = Path(shutil.copytree(folders["bare"], folder / "adapters" / "headed"))
    path = folders["headed"] / "adapter_model.safetensors"
    tensors = {name.replace("base_model.model.", "base_model.model.model."): x for name, x in load_file(path).items()}
    save_file(tensors, path)
    set_config(
        folders["headed"],
        rank_pattern={"^model.layers.0.self_attn.q_proj": 2},
        target_modules=["model.layers.0.self_attn.q_proj"],
        init_lora_weights="eva",
        eva_config={"rho": 2},
        lora_ga_config={"direction": "ArB2r"},
    )
    for task in folders:
        backend = load(folder, replace(spec_of(folder), task=task), WEIGHTS, 1, folders)
        vectors = [pooled(rows, "last") for rows in backend.forward(Batch(some_ids(12)))]
        np.testing.assert_allclose(vectors, expected(exact, some_ids(12), "last"), atol=TOLERANCE)
        backend.close()


def test_a_quantised_base_takes_adapters(folder: Path, tmp_path: Path) -> None:
    folders, _ = adapters_of(folder, plain={})
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text((folder / "config.json").read_text())
    save_file(quantise(folder, 8, 32), base / "model.safetensors")
    both = [load(place, replace(spec_of(folder), task="plain"), WEIGHTS, 1, folders) for place in (folder, base)]
    rows = [backend.forward(Batch(some_ids(20)))[0] for backend in both]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)
    for backend in both:
        backend.close()


def test_factors_as_mlx_lm_stores_them(folder: Path) -> None:
    folders, models = adapters_of(folder, plain={})
    stored = load_file(folders["plain"] / "adapter_model.safetensors")
    renamed = {
        name.replace("base_model.model.", "model.")
        .replace(".lora_A.weight", ".lora_a")
        .replace(".lora_B.weight", ".lora_b"): (np.ascontiguousarray(value.T))
        for name, value in stored.items()
    }
    place = folder / "mlx"
    place.mkdir()
    save_file(renamed, place / "adapters.safetensors")
    settings = {"fine_tune_type": "lora", "lora_parameters": {"rank": 4, "scale": 2.0}}
    (place / "adapter_config.json").write_text(json.dumps(settings))
    backend = load(folder, replace(spec_of(folder), task="plain"), WEIGHTS, 1, {"plain": place})
    vectors = [pooled(rows, "last") for rows in backend.forward(Batch(some_ids(12)))]
    np.testing.assert_allclose(vectors, expected(models["plain"], some_ids(12), "last"), atol=TOLERANCE)
    backend.close()
    (place / "adapter_config.json").write_text(json.dumps({**settings, "fine_tune_type": "dora"}))
    with pytest.raises(UnsupportedModelError, match="fine_tune_type='dora' is not implemented"):
        load(folder, replace(spec_of(folder), task="plain"), WEIGHTS, 1, {"plain": place})
    for numbers in ({"rank": 4}, [4, 2.0], {"rank": 4.0, "scale": 2.0}, {"rank": 4, "scale": float("nan")}):
        (place / "adapter_config.json").write_text(json.dumps({"lora_parameters": numbers}))
        with pytest.raises(CorruptModelError, match=r"lora_parameters has (rank|scale)=.* is needed"):
            load(folder, replace(spec_of(folder), task="plain"), WEIGHTS, 1, {"plain": place})


def drop(folder: Path, end: str) -> None:
    path = folder / "adapter_model.safetensors"
    save_file({name: x for name, x in load_file(path).items() if not name.endswith(end)}, path)


def twice(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    again = {name.replace("base_model.model.", "base_model.model.model."): x for name, x in load_file(path).items()}
    save_file(load_file(path) | again, path)


def set_config(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda f: set_config(f, use_dora=True), UnsupportedModelError, "use_dora=True cannot be switched on and off"),
        (lambda f: set_config(f, modules_to_save=["norm"]), UnsupportedModelError, r"modules_to_save=\['norm'\]"),
        (lambda f: set_config(f, bias="all"), UnsupportedModelError, "bias='all' cannot be switched"),
        (lambda f: set_config(f, init_lora_weights="pissa"), UnsupportedModelError, "init_lora_weights='pissa'"),
        (lambda f: set_config(f, peft_type="IA3"), UnsupportedModelError, "peft_type='IA3' is not implemented"),
        (lambda f: set_config(f, r=5), CorruptModelError, r"'layers\..*' .* says rank 5"),
        (lambda f: set_config(f, lora_alpha=None), CorruptModelError, "lora_alpha=None must be int or float"),
        (
            lambda f: drop(f, "0.self_attn.q_proj.lora_A.weight"),
            CorruptModelError,
            "one factor alone for 'layers.0.self",
        ),
        (
            lambda f: drop(f, ("q_proj.lora_A.weight", "q_proj.lora_B.weight")),
            CorruptModelError,
            "lacks the factors of",
        ),
        (lambda f: set_config(f, target_modules=["q_proj"]), CorruptModelError, r"has factors of .*puts no LoRA there"),
        (lambda f: twice(f), CorruptModelError, "has factors of one layer under two names"),
        (lambda f: set_config(f, fan_in_fan_out=True), UnsupportedModelError, "fan_in_fan_out=True cannot be switched"),
        (lambda f: set_config(f, lora_bias=True), UnsupportedModelError, "lora_bias=True cannot be switched"),
        (lambda f: (f / "adapter_config.json").write_text("{"), CorruptModelError, "is not JSON"),
        (lambda f: (f / "adapter_config.json").write_text("[]"), CorruptModelError, "holds a list, not an object"),
    ],
)
def test_adapters_that_cannot_be_switched(
    folder: Path, spoil: Callable[[Path], Any], error: type[Exception], message: str
) -> None:
    folders, _ = adapters_of(folder, plain={})
    spoil(folders["plain"])
    with pytest.raises(error, match=message):
        load(folder, replace(spec_of(folder), task="plain"), WEIGHTS, 1, folders)


def test_adapters_of_another_base(folder: Path, tmp_path: Path) -> None:
    folders, _ = adapters_of(folder, plain={})
    tiny.make("bert", tmp_path / "bert")
    with pytest.raises(CorruptModelError, match=r"has no place in the base, which has no linear layer 'layers\."):
        load(tmp_path / "bert", replace(spec_of(tmp_path / "bert"), task="plain"), WEIGHTS, 1, folders)
    tables = {"base_model.model.embed_tokens.lora_embedding_A": np.ones((4, 83), "f4")}
    save_file(tables, folders["plain"] / "adapter_model.safetensors")
    with pytest.raises(UnsupportedModelError, match="lora_embedding_A' is no LoRA of a linear layer"):
        load(folder, replace(spec_of(folder), task="plain"), WEIGHTS, 1, folders)
