"""Small whole files of every kind, to be spoilt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
from PIL import Image

from edge_embed_convert import convert

from support import gguf_files, tiny

PREPROCESSOR = {
    **{"image_processor_type": "LlavaNextImageProcessor", "size": {"shortest_edge": 32}, "image_mean": [0.5, 0.5, 0.5]},
    **{"crop_size": {"height": 32, "width": 32}, "image_grid_pinpoints": [[32, 64], [64, 32]], "resample": 3},
}
ADAPTER = {
    **{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["query", "value"], "bias": "none"},
    **{"rank_pattern": {"query": 2}, "alpha_pattern": {".*value": 4}, "layers_to_transform": [0, 1]},
    **{"layers_pattern": "layer", "modules_to_save": ["pooler"], "exclude_modules": r".*\.key", "lora_dropout": 0.1},
}
VISION = {
    **{"image_size": 28, "patch_size": 7, "embedding_length": 48, "block_count": 2, "attention.head_count": 4},
}


def samples(folder: Path) -> Path:
    """Make them."""
    for name in ("bert", "qwen3"):
        model = tiny.make(name, folder / name, **({"vocab_size": 300} if name == "qwen3" else {}))
        tensors = {key: value.detach().numpy() for key, value in model.state_dict().items()}
        config = model.config.to_dict()
        gguf_files.write(
            folder / f"{name}-F32.gguf", config, tensors, "mean", words=tiny.WORDS if name == "bert" else None
        )
    (folder / "bert" / "README.md").write_text("---\nlicense: mit\ntags:\n- a\n---\n# A model\n")
    (folder / "bert" / "tokenizer_config.json").write_text('{"model_max_length": 512, "padding_side": "right"}')
    prompts = {"prompts": {"query": "q: ", "document": ""}, "default_prompt_name": "query"}
    (folder / "bert" / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    shutil.copytree(folder / "bert", folder / "sharded")
    (folder / "sharded" / "model.safetensors").rename(folder / "sharded" / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(("a", "b"), "model-00001-of-00001.safetensors")}
    (folder / "sharded" / "model.safetensors.index.json").write_text(json.dumps(index))
    made = convert(folder / "bert", folder / "out", ["onnx:float32"], name="own")[0]
    made.rename(folder / "own")
    shutil.copytree(folder / "own" / "onnx", folder / "graph" / "onnx")
    for name in ("config.json", "modules.json", "1_Pooling", "tokenizer.json"):
        place = folder / "bert" / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, folder / "graph" / name)
    for name, values in {
        "adapter/adapter_config.json": ADAPTER,
        "images/preprocessor_config.json": PREPROCESSOR,
        "processor/processor_config.json": {"image_processor": PREPROCESSOR, "processor_class": "LlavaNextProcessor"},
    }.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(json.dumps(values))
    _mmproj(folder / "mmproj-F32.gguf")
    for model in ("llama", "t5"):
        _vocabulary(folder / f"{model}-F32.gguf", model)
    drawn = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8))
    for kind in ("png", "jpg", "gif", "webp", "tiff", "bmp"):
        drawn.save(folder / f"image.{kind}")
    return folder


def _vocabulary(path: Path, model: str) -> None:
    """Write a vocabulary of SentencePiece, with tokens of single bytes, and no model."""
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_tokenizer_model(model)
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    tokens = [*special, *(f"<0x{n:02X}>" for n in range(256)), *(f"\u2581{c}" for c in "abcdrw"), *"abcdrow", "or"]
    kinds = [gguf.TokenType.CONTROL] * 4 + [gguf.TokenType.BYTE] * 256
    kinds[0] = gguf.TokenType.UNKNOWN
    writer.add_token_list(tokens)
    writer.add_token_types([*kinds, *[gguf.TokenType.NORMAL] * (len(tokens) - 260)])
    writer.add_token_scores([-float(n) for n in range(len(tokens))])
    for name, token in {"bos": 1, "eos": 2, "unknown": 0, "padding": 3}.items():
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", token)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    if model == "t5":
        writer.add_precompiled_charsmap((1024).to_bytes(4, "little") + bytes(1024) + b"a\0bc\0")
    writer.add_tensor("token_embd.weight", np.ones((len(tokens), 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _mmproj(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    for key, value in VISION.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_array("clip.vision.image_grid_pinpoints", [28, 56, 56, 28])
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for name, shape in {"mm.0.weight": (32, 48), "mm.2.weight": (32, 32), "v.blk.0.ffn_up.weight": (56, 48)}.items():
        writer.add_tensor(name, np.ones(shape, np.float32))
    writer.add_tensor("model.image_newline", np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
