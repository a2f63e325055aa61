"""Published folders in the hands of other readers: the names and shapes that each of them looks for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sentence_transformers.sentence_transformer.modules import Pooling

from edge_embed import Embedder
from edge_embed.backends.onnx.session import open_session
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed_convert import convert

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
    assert json.loads((folder / "tokenizer_config.json").read_text()) == {"padding_side": "right"}


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


def test_an_mlx_folder_of_several_levels_has_no_one_quantization(checkpoint_of_last: Path, tmp_path: Path) -> None:
    (folder,) = convert(checkpoint_of_last, tmp_path, ["mlx:8bit", "mlx:4bit"], accept_loss=True)
    assert "quantization" not in json.loads((folder / "config.json").read_text())
