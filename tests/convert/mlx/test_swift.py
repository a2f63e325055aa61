"""MLX folders in the hands of mlx-swift-lm's MLXEmbedders, by its source (release 3.31.4): it cannot be run here.

It renames a file's tensors, asks by the new names how many bits a layer has, and takes neither one tensor more nor one
less than its model has.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from edge_embed_convert import convert
from edge_embed_convert.mlx.tokenizer_class import say_tokenizer_class

from support import letters, pieces, tiny

BERT_RENAMED = {
    ".layer.": ".layers.",
    ".self.key.": ".key_proj.",
    ".self.query.": ".query_proj.",
    ".self.value.": ".value_proj.",
    ".attention.output.dense.": ".attention.out_proj.",
    ".attention.output.LayerNorm.": ".ln1.",
    ".output.LayerNorm.": ".ln2.",
    ".intermediate.dense.": ".linear1.",
    ".output.dense.": ".linear2.",
    ".LayerNorm.": ".norm.",
    "pooler.dense.": "pooler.",
}
BERT_TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")
BERT_LAYER = [*(f"attention.{name}_proj" for name in ("query", "key", "value", "out")), "ln1", "ln2"]
BERT_LAYER += ["linear1", "linear2"]
QWEN3_LAYER = [*(f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"))]
QWEN3_LAYER += [*(f"mlp.{name}_proj" for name in ("gate", "up", "down")), "input_layernorm", "post_attention_layernorm"]
BERT_KEYS = {"model_type", "vocab_size", "max_position_embeddings", "layer_norm_eps", "type_vocab_size"}
BERT_KEYS |= {"hidden_size", "num_attention_heads", "intermediate_size", "num_hidden_layers"}
QWEN3_KEYS = {"model_type", "hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads"}
QWEN3_KEYS |= {"rms_norm_eps", "vocab_size", "num_key_value_heads", "head_dim", "rope_theta"}
MODES = ("cls_token", "mean_tokens", "max_tokens", "lasttoken")


def renamed(name: str) -> str:
    for ours, theirs in BERT_RENAMED.items():
        name = name.replace(ours, theirs)
    return name


def modules(architecture: str) -> tuple[set[str], set[str]]:
    """List the layers of their model that have a weight and a bias, and those that have a weight alone."""
    if architecture == "bert":
        both = {f"encoder.layers.{n}.{name}" for n in range(2) for name in BERT_LAYER}
        return both | {"embeddings.norm", "pooler"}, {f"embeddings.{name}" for name in BERT_TABLES}
    layers = {f"model.layers.{n}.{name}" for n in range(2) for name in QWEN3_LAYER}
    return set(), layers | {"model.embed_tokens", "model.norm"}


@pytest.mark.parametrize("level", ["float32", "4bit"])  # at 4 bits some layers have 6
@pytest.mark.parametrize(("architecture", "pooling"), [("bert", "mean"), ("bert", "cls_token"), ("qwen3", "lasttoken")])
def test_a_folder_has_what_mlx_embedders_reads(architecture: str, pooling: str, level: str, tmp_path: Path) -> None:
    tiny.make(architecture, tmp_path / "tiny", pooling, hidden_size=64)
    said = {"tokenizer_class": "BertTokenizer" if architecture == "bert" else "Qwen2Tokenizer"}
    left_out = architecture == "bert" and level == "4bit"  # then the converter says it
    (tmp_path / "tiny" / "tokenizer_config.json").write_text(json.dumps({} if left_out else said))
    (folder,) = convert(tmp_path / "tiny", tmp_path / "out", [f"mlx:{level}"], accept_loss=True)
    (path,) = folder.rglob("*.safetensors")
    with safe_open(path, "numpy") as file:
        shapes = {renamed(name): file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    both, alone = modules(architecture)
    quantised = {name.removesuffix(".scales") for name in shapes if name.endswith(".scales")}
    expected = {f"{name}.weight" for name in both | alone} | {f"{name}.bias" for name in both}
    expected |= {f"{name}.{part}" for name in quantised for part in ("scales", "biases")}
    assert set(shapes) == expected
    config = json.loads((folder / "config.json").read_text())
    assert config.keys() >= (BERT_KEYS if architecture == "bert" else QWEN3_KEYS)
    assert bool(quantised) == (level != "float32") == ("quantization" in config)
    for name in quantised:  # a layer is made with these bits before its tensors are put in
        usual = config["quantization"]
        bits = usual.get(name, usual)["bits"]
        columns = shapes[f"{name}.scales"][1] * usual["group_size"]
        assert shapes[f"{name}.weight"][1] * 32 == columns * bits, name
    pools = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert pools["word_embedding_dimension"] == 64
    found = {mode for mode in MODES if pools[f"pooling_mode_{mode}"]}
    assert found == {{"mean": "mean_tokens", "cls_token": "cls_token", "lasttoken": "lasttoken"}[pooling]}
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == said["tokenizer_class"]  # without which swift-transformers refuses some


@pytest.mark.parametrize(
    ("architecture", "name", "made"),
    [
        ("bert", "BertTokenizer", letters.tokenizer),
        ("qwen3", "Qwen2Tokenizer", pieces.byte_pairs),
        ("roberta", "RobertaTokenizer", pieces.byte_pairs),
        ("xlm-roberta", "XLMRobertaTokenizer", pieces.unigram),
        ("gemma3_text", "GemmaTokenizer", pieces.merged_pieces),
        ("qwen3", None, letters.tokenizer),  # WordPiece, which Qwen2Tokenizer is not
        ("eurobert", None, pieces.byte_pairs),
    ],
)
def test_a_tokenizers_class_is_said_as_transformers_knows_it(
    architecture: str, name: str | None, made: Callable[[], Any], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    made().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": architecture}))
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({"model_max_length": 64}))
    before = transformers.AutoTokenizer.from_pretrained(tmp_path)
    say_tokenizer_class(tmp_path, architecture)
    assert json.loads(path.read_text()) == {"model_max_length": 64} | ({"tokenizer_class": name} if name else {})
    after = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert type(after) is type(before)
    for text in ("a cat sits.", "the  kitten\nrests, 12", ""):
        assert after(text)["input_ids"] == before(text)["input_ids"]
    path.write_text(json.dumps({"tokenizer_class": "Own"}))
    say_tokenizer_class(tmp_path, architecture)
    assert json.loads(path.read_text()) == {"tokenizer_class": "Own"}
