"""Checkpoints that are published with code of their own, under other names than transformers', against its classes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from edge_embed import CorruptModelError, Embedder, InputError, ModelError
from edge_embed.backends.footprint import Model, touched
from edge_embed.backends.onnx.footprint import KEPT, converted_footprint
from edge_embed.layouts.folder import read_folder
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed_convert import convert
from edge_embed_convert.__main__ import main
from edge_embed_convert.verification import verify

from support import jina_v3_published as jina_v3
from support import tiny

TEXTS = ["a", "hello, world!", "the quick brown fox jumps over the lazy dog 0123456789", "word " * 12]
TOLERANCE = 1e-4  # per element of unit vectors; 1.6e-6 was measured in ONNX, 9e-7 in MLX
CLOSE = 5e-4  # of llama.cpp, whose GELU is another and a table of float16; 8.5e-5 was measured


@pytest.fixture(autouse=True)
def _few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a conversion verify little, where the test itself measures more."""
    monkeypatch.setattr(verify, "probes", lambda max_tokens: ["a", "some words"])


def reference(model: Any, folder: Path, pooling: str = "mean", prompt: str = "") -> NDArray[np.float32]:
    """Embed each text alone with transformers."""
    out = []
    for ids in TextTokenizer(folder / "tokenizer.json", 128).tokenize([prompt + text for text in TEXTS]).ids:
        with torch.inference_mode():
            rows = model(torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state[0].numpy()
        vector = rows.mean(axis=0) if pooling == "mean" else rows[0]
        out.append(vector / np.linalg.norm(vector))
    return np.array(out)


def encoded(folder: Path, **options: Any) -> Any:
    with Embedder(folder, **options) as model:
        return model.encode(TEXTS)


def change(folder: Path, **values: Any) -> None:
    """Change keys of config.json; ... removes one."""
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


# jina-embeddings-v3


@pytest.fixture(scope="module")
def v3(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str | None, Any]]:
    folder = tmp_path_factory.mktemp("v3") / "jina-v3"
    return folder, jina_v3.make(folder)


def test_a_task_is_merged_and_has_its_prompt(v3: tuple[Path, dict[str | None, Any]], tmp_path: Path) -> None:
    """One task in every format; the others below."""
    (folder, models), task = v3, "retrieval.query"
    exact = reference(models[task], folder, prompt=jina_v3.PROMPTS[task])
    for made in convert(folder, tmp_path, ["onnx:float32", "mlx:float32", "gguf:F32"], task=task):
        print(made.name, np.abs(encoded(made) - exact).max())
        np.testing.assert_allclose(encoded(made), exact, atol=CLOSE if made.name.endswith("-GGUF") else TOLERANCE)
        with Embedder(made) as model:
            assert model.spec.task == task
            assert model.spec.architecture == "jina_embeddings_v3"
            assert model.spec.matryoshka_dims == (8, 16, 32)
            assert model.encode_query("a") == pytest.approx(model.encode("a"))


def test_a_task_is_asked_for_by_name(v3: tuple[Path, dict[str | None, Any]]) -> None:
    folder, models = v3
    with pytest.raises(InputError, match=r"pass task=, one of .*'retrieval.query'"):
        Embedder(folder)
    with Embedder(f"{folder}:float32", task="separation", backend="onnx") as model:
        np.testing.assert_allclose(model.encode(TEXTS), reference(models["separation"], folder), atol=TOLERANCE)
        model.use_task("retrieval.passage")
        exact = reference(models["retrieval.passage"], folder, prompt=jina_v3.PROMPTS["retrieval.passage"])
        np.testing.assert_allclose(model.encode(TEXTS), exact, atol=TOLERANCE)


def test_the_command_converts_the_tasks_that_it_is_told(v3: tuple[Path, dict[str | None, Any]], tmp_path: Path) -> None:
    folder, models = v3
    options = ["--out", str(tmp_path), "--to", "onnx:float32", "--task"]
    assert main([str(folder), *options, "separation,text-matching"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jina-v3-separation", "jina-v3-text-matching"]
    exact = reference(models["text-matching"], folder)
    np.testing.assert_allclose(encoded(tmp_path / "jina-v3-text-matching"), exact, atol=TOLERANCE)
    assert main([str(folder), *options, "poetry"]) == 1
    with pytest.raises(InputError, match=r"unknown task 'poetry': .* has adapters for 'classification', 'retrieval"):
        convert(folder, tmp_path, ["onnx:float32"], task="poetry")
    with pytest.raises(InputError, match=r"is a base with adapters for 'classification', .*: pass task="):
        convert(folder, tmp_path, ["onnx:float32"])


def test_the_merged_checkpoint_is_one_of_transformers(v3: tuple[Path, dict[str | None, Any]], tmp_path: Path) -> None:
    folder, models = v3
    (made,) = convert(folder, tmp_path, ["onnx:int8"], task="classification", keep_checkpoint=True, accept_loss=True)
    theirs = AutoModel.from_pretrained(made).eval()
    assert type(theirs).__name__ == "JinaEmbeddingsV3Model"
    exact = reference(models["classification"], folder)
    np.testing.assert_allclose(reference(theirs, folder), exact, atol=1e-6)
    cosines = (encoded(made) * exact).sum(axis=1)
    print(cosines)
    assert cosines.min() >= 0.99


def test_a_table_with_factors_beside_it_is_planned_as_a_table(v3: tuple[Path, dict[str | None, Any]]) -> None:
    folder, _ = v3
    found = read_folder(folder)
    model = Model(header=lambda name: folder / name, config={}, spec=found.spec)
    table, numbers = 300 * 32, sum(value.numel() for value in load_file(folder / "model.safetensors").values())
    planned = converted_footprint(model, ["model.safetensors"], "int8", 10).weights
    assert planned == int((numbers - table) * KEPT) + touched(table, 10)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks transformers for it
def test_an_adapter_of_transformers_model_fits_the_published_names(tmp_path: Path) -> None:
    model = tiny.make("jina_embeddings_v3", tmp_path / "base")
    assert "encoder.layers.0.mixer.Wqkv.weight" in load_file(tmp_path / "base" / "model.safetensors")
    options = LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "fc1"], init_lora_weights=False)
    unmerged = get_peft_model(model, options).eval()
    unmerged.save_pretrained(tmp_path / "lora")
    (made,) = convert(tmp_path / "base", tmp_path / "out", ["onnx:float32"], adapter=tmp_path / "lora")
    np.testing.assert_allclose(encoded(made), reference(unmerged, tmp_path / "base"), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lora_adaptations": ["a", "a"]}, "lora_adaptations=.'a', 'a'. is no list of different tasks"),
        ({"lora_adaptations": "a"}, "lora_adaptations='a' is no list of different tasks"),
        ({"lora_adaptations": ["../x"]}, "lora_adaptations: '../x' cannot be a model's name"),
        ({"lora_adaptations": ["a"]}, r"lora_B' \(5, .* are no factors of 1 tasks at rank 3 for a weight \("),
        ({"lora_rank": 2}, "are no factors of 5 tasks at rank 2 for a weight"),
        ({"lora_rank": 0}, "lora_rank=0 is not a whole number from 1"),
        ({"lora_alpha": "1"}, "lora_alpha='1' is not a number"),
        ({"use_reg_tokens": True}, "use_reg_tokens=True is not implemented"),
        ({"truncate_dim": 64}, "truncate_dim=64 is not implemented"),
        ({"hidden_act": "relu"}, "hidden_act='relu' is not implemented; 'gelu' or"),
        ({"num_attention_heads": 32}, "heads of 1 channels do not make pairs"),
    ],
)
def test_values_of_v3_that_are_refused(
    values: dict[str, Any], message: str, v3: tuple[Path, dict[str | None, Any]], tmp_path: Path
) -> None:
    copy_with(v3[0], tmp_path / "source", values)
    task = values.get("lora_adaptations", jina_v3.TASKS)[0]
    with pytest.raises(ModelError, match=message):
        convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"], task=task)


def copy_with(folder: Path, to: Path, values: dict[str, Any]) -> None:
    to.mkdir()
    for path in folder.glob("*.*"):
        (to / path.name).write_bytes(path.read_bytes())
    (to / "1_Pooling").mkdir()
    (to / "1_Pooling" / "config.json").write_bytes((folder / "1_Pooling" / "config.json").read_bytes())
    change(to, **values)


STEM = "roberta.encoder.layers.1.mlp.fc1.parametrizations.weight"


@pytest.mark.parametrize(
    ("drop", "add", "message"),
    [
        ([f"{STEM}.0.lora_B"], {}, f"tensor '{STEM}.0.lora_B' is missing: each weight that has factors"),
        ([f"{STEM}.original"], {}, f"tensor '{STEM}.0.lora_A' lacks its fellows"),
        ([], {"roberta.encoder.layers.1.mlp.fc1.weight": (48, 32)}, "is there with factors of tasks, and without"),
        ([], {"roberta.layers.1.mlp.fc1.bias": (48,)}, "are the same part of the model"),
        ([], {f"{STEM}.0.lora_A": (5, 3)}, "are no factors of 5 tasks"),
        ([], {f"{STEM}.0.lora_A": float("inf")}, "holds NaN or infinity"),
        (["roberta.encoder.layers.1.mixer.Wqkv.bias"], {}, r"lack the tensor 'roberta.layers.1.self_attn.q_proj.bias'"),
        ([], {"roberta.encoder.layers.1.mixer.Wqkv.bias": (97,)}, r"has shape \(97,\), which is not 3 equal parts"),
        ([], {"roberta.encoder.layers.2.norm1.weight": (32,)}, "1 tensors have no place in this architecture"),
    ],
)
def test_tensors_of_v3_that_are_refused(
    drop: list[str], add: dict[str, Any], message: str, v3: tuple[Path, dict[str | None, Any]], tmp_path: Path
) -> None:
    copy_with(v3[0], tmp_path / "source", {})
    path = tmp_path / "source" / "model.safetensors"
    tensors = {name: value for name, value in load_file(path).items() if name not in drop}
    for name, value in add.items():
        tensors[name] = torch.zeros(value) if isinstance(value, tuple) else torch.full_like(tensors[name], value)
    save_file(tensors, path)
    with pytest.raises(ModelError, match=message):
        convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"], task="separation")


def test_tasks_without_factors_are_refused(tmp_path: Path) -> None:
    tiny.make("jina_embeddings_v3", tmp_path / "source")
    change(tmp_path / "source", rope_parameters=..., **jina_v3.CONFIG)
    with pytest.raises(CorruptModelError, match=r"has lora_adaptations, and no tensor is called '\*.parametrizations"):
        convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"], task="separation")


# GTE


def published_gte(folder: Path, *, packed: bool = True, scaling: dict[str, Any] | None = None, **sizes: Any) -> Any:
    """Make a GTE, and publish it as `new`; return transformers' model, its angles as the published code has them."""
    model = tiny.make("gte", folder, "cls_token", **sizes)
    tensors = load_file(folder / "model.safetensors")
    if not packed:
        for name in [name for name in tensors if "qkv_proj" in name]:
            parts = zip("qkv", tensors.pop(name).chunk(3), strict=True)
            tensors |= {name.replace("qkv_proj", f"{x}_proj"): part.contiguous() for x, part in parts}
    save_file({f"new.{name}": value for name, value in tensors.items()}, folder / "model.safetensors")
    published = {"layer_norm_type": "layer_norm", "logn_attention_clip1": False, "logn_attention_scale": False}
    published |= {"position_embedding_type": "rope", "rope_scaling": scaling, "rope_theta": 20000}
    change(
        folder, model_type="new", pack_qkv=packed, unpad_inputs=True, use_memory_efficient_attention=True, **published
    )
    change(folder, rope_parameters=..., architectures=["NewModel"])
    exponents = torch.arange(0, 8, 2).float() / 8
    theta, factor = (20000 * scaling["factor"], scaling["factor"] ** (2 / 8)) if scaling else (20000, 1)
    model.rotary_emb.inv_freq.copy_(1 / theta**exponents / factor)
    return model


@pytest.mark.parametrize(("packed", "scaling"), [(True, {"type": "ntk", "factor": 8.0}), (False, None)])
def test_new_is_gte(packed: bool, scaling: dict[str, Any] | None, tmp_path: Path) -> None:
    model = published_gte(tmp_path / "source", packed=packed, scaling=scaling)
    exact = reference(model, tmp_path / "source", "first")
    for made in convert(tmp_path / "source", tmp_path / "out", ["onnx:float32", "mlx:float32"], keep_checkpoint=True):
        print(made.name, np.abs(encoded(made) - exact).max())
        np.testing.assert_allclose(encoded(made), exact, atol=TOLERANCE)
    theirs = AutoModel.from_pretrained(tmp_path / "out" / "source").eval()
    assert type(theirs).__name__ == "GteModel"
    np.testing.assert_allclose(reference(theirs, tmp_path / "source", "first"), exact, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"position_embedding_type": "absolute"}, "position_embedding_type='absolute' is not implemented"),
        ({"layer_norm_type": "rms_norm"}, "layer_norm_type='rms_norm' is not implemented"),
        ({"logn_attention_scale": True}, "logn_attention_scale=True is not implemented"),
        ({"logn_attention_clip1": True}, "logn_attention_clip1=True is not implemented"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "type='dynamic' is not implemented; 'ntk' is"),
        ({"rope_scaling": {"type": "ntk", "factor": 2.0, "mixed_b": 0.5}}, "mixed_b=0.5 is not implemented"),
        ({"rope_scaling": {"type": "ntk", "factor": 0.5}}, "rope_scaling has factor=0.5"),
        ({"rope_scaling": {"type": "ntk"}}, "config.json lacks 'factor'"),
        ({"rope_scaling": "ntk"}, "rope_scaling='ntk' is not an object"),
        ({"type_vocab_size": -1}, "type_vocab_size=-1 is not a whole number from 0"),
        ({"type_vocab_size": 0}, "1 tensors have no place"),
        ({"hidden_act": "silu"}, "hidden_act='silu' is not implemented"),
        ({"layer_norm_eps": ...}, "config.json lacks 'layer_norm_eps'"),
    ],
)
def test_values_of_gte_that_are_refused(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    published_gte(tmp_path / "source", type_vocab_size=1)
    change(tmp_path / "source", **values)
    with pytest.raises(ModelError, match=message):
        convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])


def test_llama_cpp_has_no_gte(tmp_path: Path) -> None:
    tiny.make("gte", tmp_path / "source")
    with pytest.raises(ModelError, match=r"model_type 'gte' has no GGUF names; there are .*'jina_bert_v2'"):
        convert(tmp_path / "source", tmp_path / "out", ["gguf:F16"])


# JinaBERT-v2


@pytest.mark.parametrize("name", ["jina_bert_v2", "jina_bert_v2-code"])
def test_a_bert_with_alibi_is_jina_bert(name: str, tmp_path: Path) -> None:
    model = tiny.make(name, tmp_path / "source", num_attention_heads=2, num_hidden_layers=3)
    exact = reference(model, tmp_path / "source")
    (made,) = convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])
    np.testing.assert_allclose(encoded(made), exact, atol=TOLERANCE)
    said = json.loads((made / "config.json").read_text())
    assert (said["model_type"], said["use_qk_norm"]) == ("jina_bert_v2", name.endswith("code"))
    assert re.search("auto_map|_name_or_path", str(said)) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"feed_forward_type": "reglu"}, "feed_forward_type='reglu' is not implemented; 'geglu' is"),
        ({"feed_forward_type": ...}, "config.json lacks 'feed_forward_type'"),
        ({"is_decoder": True}, "is_decoder=True is not implemented"),
        ({"num_attention_heads": 5}, "hidden_size=32 is not a multiple of num_attention_heads=5"),
        ({"intermediate_size": 40}, "has shape .48, 32., config.json calls for .40, 32."),
        ({"num_hidden_layers": 3}, "lack the tensor 'layers.2.self_attn.q_proj.weight'"),
    ],
)
def test_values_of_jina_bert_that_are_refused(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    tiny.make("jina_bert_v2", tmp_path / "source")
    change(tmp_path / "source", **values)
    with pytest.raises(ModelError, match=message):
        convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])
