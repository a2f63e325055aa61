"""jina-embeddings-v5-omni, laid out as its repositories are: a text's vector is v5-text's of the same weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edge_embed import CorruptModelError, Embedder, InputError, UnsupportedModelError
from edge_embed_convert import convert

from support import gguf_files, tiny

TEXTS = ["a cat", "the quick brown fox jumps over the lazy dog", "", "0123456789 " * 3]
SIZES = {"small": "qwen3", "nano": "eurobert"}
TASKS = ("retrieval", "clustering")
TOWERS = {  # what a base has beside its language model, and what is made of that when it is merged
    "base": (
        *("mergers.retrieval.linear_fc1.weight", "audio_projectors.retrieval.weight", "vision_tower.pos_embed.weight"),
        *("task_token_embeddings.retrieval", "audio_tower.layers.0.self_attn.q_proj.weight"),
    ),
    "small": ("visual.merger.norm.weight", "visual.blocks.0.attn.qkv.weight", "audio_projector.weight"),
    "nano": ("vision_tower.blocks.0.attn.qkv.weight", "merger.norm.weight", "audio_projector.weight", "lm_head.weight"),
}
MERGED = {"small": "qwen3vl_audio", "nano": "llava_eurobert_audio"}


def adapters(folder: Path, prefix: str) -> None:
    """Write an adapter for each task; `prefix` stands before the names of layers."""
    rng = np.random.default_rng(3)
    for task in TASKS:
        (folder / "adapters" / task).mkdir(parents=True)
        config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": f"{prefix}layers.*(q_proj|down_proj)"}
        (folder / "adapters" / task / "adapter_config.json").write_text(json.dumps(config))
        sizes = {"self_attn.q_proj": (32, 32), "mlp.down_proj": (48, 32)}
        factors = {
            f"base_model.model.{prefix}layers.{n}.{name}.lora_{part}.weight": rng.standard_normal(shape, np.float32) / 4
            for n in range(2)
            for name, (size, out) in sizes.items()
            for part, shape in (("A", (2, size)), ("B", (out, 2)))
        }
        save_file(factors, folder / "adapters" / task / "adapter_model.safetensors")


def published(folder: Path, kind: str, **values: Any) -> None:
    """Write small files as Jina's repositories have them: code of their own, and no word of pooling."""
    shutil.rmtree(folder / "1_Pooling")
    (folder / "modules.json").write_text(json.dumps([{"path": "", "type": "custom_st.Transformer"}]))
    code = {"AutoModel": f"modeling_{kind}.Model", "AutoConfig": f"configuration_{kind}.Config"}
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "auto_map": code, **values}))


def text(folder: Path, size: str) -> Path:
    """Make v5-text's base with adapters, in a folder that is called so."""
    place = folder / f"jina-embeddings-v5-text-{size}"
    tiny.make(SIZES[size], place, "lasttoken")
    own = json.loads((place / "config.json").read_text())
    published(place, "jina_embeddings_v5", **{key: value for key, value in own.items() if key != "model_type"})
    adapters(place, "")
    return place


def omni(folder: Path, size: str, task: str | None = None) -> Path:
    """Make v5-omni around the same weights: the base with adapters, or what is merged for a task, without them."""
    place = folder / f"jina-embeddings-v5-omni-{size}{f'-{task}' if task else ''}"
    tiny.make(SIZES[size], place, "lasttoken")
    own = json.loads((place / "config.json").read_text())
    tensors = {f"language_model.{name}": x for name, x in load_file(place / "model.safetensors").items()}
    towers = TOWERS[size if task else "base"]
    save_file({**tensors, **{name: np.ones((3, 2), np.float32) for name in towers}}, place / "model.safetensors")
    parts = {"text_config": own, "vision_config": {"hidden_size": 99}, "audio_config": {}, "special_token_ids": [5]}
    published(place, MERGED[size] if task else "jina_embeddings_v5_omni", **parts)
    (place / "preprocessor_config.json").write_text('{"image_processor_type": "Qwen2VLImageProcessorFast", "size": {}}')
    if task is None:
        adapters(place, "language_model.")
    return place


@pytest.mark.parametrize("size", SIZES)
def test_a_base_gives_the_vectors_of_v5_text(size: str, tmp_path: Path) -> None:
    (plain,) = convert(text(tmp_path, size), tmp_path / "out", ["onnx:float32"], task="retrieval")
    (made,) = convert(omni(tmp_path, size), tmp_path / "out", ["onnx:float32"], task="retrieval", keep_checkpoint=True)
    with Embedder(plain) as theirs, Embedder(made) as ours:
        assert (ours.encode_query(TEXTS) == theirs.encode_query(TEXTS)).all()
        assert (ours.encode(TEXTS) == theirs.encode(TEXTS)).all()
        assert np.abs(ours.encode(TEXTS) - ours.encode_query(TEXTS)).max() > 0.01
        with pytest.raises(
            InputError, match=r"omni.* embeds texts, as jina-embeddings-v5-text does: .* not implemented"
        ):
            ours.encode({"image": np.zeros((8, 8, 3), np.uint8)})
    config = json.loads((made / "config.json").read_text())
    assert (config["model_type"], "text_config" in config, "auto_map" in config) == (SIZES[size], False, False)
    assert not any(name.startswith(("language_model", "mergers")) for name in load_file(made / "model.safetensors"))


@pytest.mark.parametrize("size", SIZES)
def test_a_merged_folder_does_so_in_every_format(size: str, tmp_path: Path) -> None:
    source = omni(tmp_path, size, "retrieval")
    formats = ["onnx:float32", "gguf:F32", "mlx:float32"]
    tiny.make(SIZES[size], tmp_path / "plain", "lasttoken")
    values = {"prompts": {"query": "Query: {text}", "document": "Document: {text}"}, "default_prompt": "document"}
    theirs = convert(tmp_path / "plain", tmp_path / "out", formats, spec=values)
    ours = convert(source, tmp_path / "out", formats)
    for one, other in zip(ours, theirs, strict=True):
        with Embedder(one) as model, Embedder(other) as plain:
            assert (model.spec.task, model.spec.architecture) == ("retrieval", SIZES[size])
            assert (model.encode_query(TEXTS) == plain.encode_query(TEXTS)).all()


@pytest.mark.parametrize("size", SIZES)
def test_mlx_reads_the_base_itself(size: str, tmp_path: Path) -> None:
    """Without a conversion, as on Apple's machines: adapters switch in place, the towers stay on the disk."""
    theirs, ours = (made(tmp_path, size) for made in (text, omni))
    theirs, ours = (place.rename(f"{place}-mlx") for place in (theirs, ours))
    with Embedder(theirs, task="retrieval") as plain, Embedder(ours, task="retrieval") as model:
        for task in TASKS:
            model.use_task(task)
            plain.use_task(task)
            assert (model.encode_document(TEXTS) == plain.encode_document(TEXTS)).all()


def test_a_gguf_file_beside_those_of_its_towers(tmp_path: Path) -> None:
    """llama.cpp's own converter wrote it: the name of its folder tells prompts and task, and no tower is asked for."""
    tiny.make("eurobert", tmp_path / "source", "lasttoken")
    config = json.loads((tmp_path / "source" / "config.json").read_text())
    tensors = load_file(tmp_path / "source" / "model.safetensors")
    made = {}
    for kind in ("text", "omni"):
        folder = tmp_path / f"jina-embeddings-v5-{kind}-nano-retrieval-GGUF"
        folder.mkdir()
        stem = folder.name.removesuffix("-GGUF")
        gguf_files.write(folder / f"{stem}-F32.gguf", config, tensors, "last", words=tiny.WORDS)
        if kind == "omni":
            for part in ("vision", "audio"):
                (folder / f"{stem}-{part}-mmproj-F16.gguf").write_bytes(b"GGUF")
        with Embedder(folder) as model:
            assert (model.spec.task, model.spec.prompts["query"]) == ("retrieval", "Query: {text}")
            made[kind] = model.encode_query(TEXTS[:2])
            if kind == "omni":
                with pytest.raises(
                    InputError, match=r"pictures and sound are not implemented\. For images take jina-c"
                ):
                    model.encode({"image": np.zeros((8, 8, 3), np.uint8)})
    assert (made["omni"] == made["text"]).all()


def test_what_an_omni_folder_must_hold(tmp_path: Path) -> None:
    place = omni(tmp_path, "nano", "retrieval")
    tensors = load_file(place / "model.safetensors")
    save_file({**tensors, "depth_tower.weight": np.ones((2, 2), np.float32)}, place / "model.safetensors")
    with pytest.raises(UnsupportedModelError, match="1 tensors have no place in 'llava_eurobert_audio': 'depth_tower"):
        convert(place, tmp_path / "out", ["onnx:float32"])
    save_file({k: x for k, x in tensors.items() if "language" not in k}, place / "model.safetensors")
    with pytest.raises(CorruptModelError, match=r"lack the tensor 'embed_tokens\.weight'"):
        convert(place, tmp_path / "out", ["onnx:float32"])
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "text_config": {}, "hidden_size": 32}))
    with pytest.raises(CorruptModelError, match=r"lacks 'text_config', the model of texts|max_position_embeddings"):
        convert(place, tmp_path / "out", ["onnx:float32"])
