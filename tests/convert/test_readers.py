"""Published folders in the hands of other readers: the names and shapes that each of them looks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sentence_transformers.sentence_transformer.modules import Pooling

from edge_embed import AcceptedLossWarning, Embedder
from edge_embed.backends.onnx.session import open_session
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed_convert import convert
from edge_embed_convert.publishing.layout import bases_of_positions

from support import tiny


@pytest.fixture(scope="module")
def checkpoint_of_last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny Qwen3 that pools the last token and whose tokenizer pads on the left, as Qwen's does."""
    folder = tmp_path_factory.mktemp("readers") / "tiny"
    tiny.make("qwen3", folder, "lasttoken", hidden_size=64)
    (folder / "tokenizer_config.json").write_text(json.dumps({"padding_side": "left"}))
    return folder


def test_a_graph_of_one_row_has_what_other_readers_pool(checkpoint_of_last: Path, tmp_path: Path) -> None:
    """optimum and transformers.js take `last_hidden_state`, fastembed the first output, others `sentence_embedding`."""
    (folder,) = convert(checkpoint_of_last, tmp_path, ["onnx:float32"])
    with Embedder(f"{folder}:float32") as model:
        ours = model.encode(["abc", "ab"], normalize_embeddings=False)
    rows = TextTokenizer(folder / "tokenizer.json", 64).tokenize(["abc", "ab"]).ids
    mask = np.array([[at < len(row) for at in range(len(rows[0]))] for row in rows]).astype(np.int64)
    ids = np.array([[*row, *[0] * (len(rows[0]) - len(row))] for row in rows])
    session = open_session(folder / "onnx/model.onnx", 1)
    named = [(output.name, len(output.shape)) for output in session.get_outputs()]
    assert named == [("last_hidden_state", 3), ("sentence_embedding", 2), ("pooled_hidden_state", 2)]
    hidden, embedding, pooled = session.run(None, {"input_ids": ids, "attention_mask": mask})
    assert hidden.shape == (*ids.shape, 64)
    for mode in ("lasttoken", "mean", "cls"):
        features = {"token_embeddings": torch.tensor(hidden), "attention_mask": torch.tensor(mask)}
        theirs = Pooling(64, pooling_mode=mode)(features)["sentence_embedding"].numpy()
        np.testing.assert_allclose(theirs, ours, atol=1e-5)
    np.testing.assert_allclose(embedding, ours, atol=1e-5)
    np.testing.assert_array_equal(pooled, embedding)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer == {"padding_side": "right", "model_max_length": 64}  # without which fastembed refuses it


@pytest.mark.parametrize(("name", "side"), [("qwen3", "left"), ("bert", "right")])
def test_a_portable_folder_pads_where_transformers_js_looks(name: str, side: str, tmp_path: Path) -> None:
    """It takes the last column for the last token; learned positions count from a row's beginning."""
    tiny.make(name, tmp_path / "tiny", "lasttoken")
    (tmp_path / "tiny" / "tokenizer_config.json").write_text(json.dumps({"model_max_length": int(1e30)}))
    (folder,) = convert(tmp_path / "tiny", tmp_path / "out", ["onnx:float32"], portable=True)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer.get("padding_side", "right") == side
    assert tokenizer["model_max_length"] == 64


def test_an_mlx_folder_of_one_level_says_how_it_is_quantised(checkpoint_of_last: Path, tmp_path: Path) -> None:
    """mlx-lm takes every model*.safetensors, names below `model.`, and `quantization` with exceptions by name."""
    (folder,) = convert(checkpoint_of_last, tmp_path, ["mlx:4bit"], accept_loss=True)
    config = json.loads((folder / "config.json").read_text())
    assert config["tie_word_embeddings"] is True
    quantization = config["quantization"]
    assert (quantization["group_size"], quantization["bits"]) == (64, 4)
    assert quantization["model.layers.0.self_attn.v_proj"] == {"group_size": 64, "bits": 6}
    (path,) = folder.glob("model*.safetensors")
    with safe_open(path, "numpy") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    assert all(name.startswith("model.") for name in shapes)
    for name in (name.removesuffix(".scales") for name in shapes if name.endswith(".scales")):
        own = quantization.get(name, quantization)
        assert shapes[f"{name}.weight"][1] * 32 // own["bits"] == shapes[f"{name}.scales"][1] * own["group_size"]


def test_an_mlx_folder_of_bert_has_bare_names_and_a_pooler(tmp_path: Path) -> None:
    """mlx-embeddings and mlx-swift-lm refuse one without, and the latter looks bits up by names of its own."""
    source = tmp_path / "tiny"
    tiny.make("bert", source, hidden_size=64)
    tensors = load_file(source / "model.safetensors")
    assert "pooler.dense.weight" in tensors
    save_file({f"bert.{name}": tensor for name, tensor in tensors.items()}, source / "model.safetensors")
    (folder,) = convert(source, tmp_path / "out", ["mlx:4bit"], accept_loss=True)
    (path,) = folder.glob("model*.safetensors")
    with safe_open(path, "numpy") as file:
        names = set(file.keys())
    assert {"embeddings.word_embeddings.scales", "pooler.dense.weight", "pooler.dense.bias"} < names
    assert not any(name.startswith("bert.") for name in names)
    quantization = json.loads((folder / "config.json").read_text())["quantization"]
    ours, swift = "encoder.layer.1.attention.self.value", "encoder.layers.1.attention.value_proj"
    assert quantization[ours] == quantization[swift] == {"group_size": 64, "bits": 6}
    with pytest.warns(AcceptedLossWarning), Embedder(f"{folder}:4bit") as model:  # which reads no pooler
        assert model.encode("abc").shape == (64,)


def test_the_base_of_positions_stands_where_others_look(checkpoint_of_last: Path, tmp_path: Path) -> None:
    """transformers 5 writes it to `rope_parameters` alone; mlx-embeddings then computes with its default."""
    (folder,) = convert(checkpoint_of_last, tmp_path, ["mlx:float32"])
    config = json.loads((folder / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 5e3
    assert "rope_scaling" not in config


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"rope_theta": 1e4}, {}),
        (
            {"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": 2.0}},
            {"rope_theta": 1e4, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        ),
        (
            {
                "model_type": "modernbert",
                "rope_parameters": {
                    "full_attention": {"rope_theta": 16e4, "rope_type": "default"},
                    "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
                },
            },
            {"global_rope_theta": 16e4, "local_rope_theta": 1e4},
        ),
    ],
)
def test_bases_of_positions(config: dict[str, Any], expected: dict[str, Any]) -> None:
    assert bases_of_positions(config) == expected


def test_an_mlx_folder_of_several_levels_has_no_one_quantization(checkpoint_of_last: Path, tmp_path: Path) -> None:
    (folder,) = convert(checkpoint_of_last, tmp_path, ["mlx:8bit", "mlx:4bit"], accept_loss=True)
    assert "quantization" not in json.loads((folder / "config.json").read_text())
