"""Every architecture, on tiny random weights, against transformers' own implementation, element by element."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_embed import Embedder, InputError, ModelError, TruncationWarning
from edge_embed.layouts.folder import read_folder
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed_convert import convert
from edge_embed_convert.verification import verify

from support import oracle, tiny

TEXTS = ["", "a", "hello, world!", "the quick brown fox jumps over the lazy dog 0123456789", "word " * 15, "x?" * 9]
TOLERANCE = 1e-4  # per element of unit vectors; the largest that was seen is 4e-7


def reference(model: Any, folder: Path, pooling: str) -> NDArray[np.float32]:
    """Embed each text alone with transformers."""
    return oracle.vectors(model, folder, TEXTS, pooling)


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize("name", tiny.ARCHITECTURES)
def test_float32_equals_transformers(name: str, pooling: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    model = tiny.make(name, source, {"first": "cls_token", "last": "lasttoken"}.get(pooling, pooling))
    (folder,) = convert(source, tmp_path / "out", ["onnx:float32"])
    expected = reference(model, source, pooling)
    with Embedder(folder) as embedder:
        assert embedder.spec.pooling == pooling
        np.testing.assert_allclose(embedder.encode(TEXTS), expected, atol=TOLERANCE)
        np.testing.assert_allclose(np.stack([embedder.encode(text) for text in TEXTS]), expected, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["mistral", "qwen2", "qwen2-both-sides"])
def test_llama_cpp_equals_transformers(name: str, tmp_path: Path) -> None:
    """In float32; the largest that was seen is 1.1e-6. Mistral is a Llama there; both have no windows."""
    source = tmp_path / "source"
    model = tiny.make(name, source, "lasttoken")
    with Embedder(*convert(source, tmp_path / "out", ["gguf:F32"])) as embedder:
        assert embedder.spec.attention == ("full" if name.endswith("both-sides") else "causal")
        np.testing.assert_allclose(embedder.encode(TEXTS), reference(model, source, "last"), atol=TOLERANCE)


def test_heads_that_llama_cpp_has_no_place_for(tmp_path: Path) -> None:
    tiny.make("qwen2", tmp_path / "source", head_dim=24)
    with pytest.raises(ModelError, match=r"4 heads of 24 do not make hidden_size=32, .* in Qwen2: convert to ONNX or"):
        convert(tmp_path / "source", tmp_path / "out", ["gguf:F32"])


def test_shapes_that_are_not_the_usual_ones(tmp_path: Path) -> None:
    model = tiny.make(
        "bert", tmp_path / "source", hidden_size=48, num_attention_heads=3, intermediate_size=20, type_vocab_size=1
    )
    (folder,) = convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])
    with Embedder(folder) as embedder:
        np.testing.assert_allclose(
            embedder.encode(TEXTS), reference(model, tmp_path / "source", "mean"), atol=TOLERANCE
        )


@pytest.mark.parametrize("name", ["modernbert", "nomic-bert"])
def test_levels_that_round(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Least cosine of a text: 0.99996 in int8, 0.99994 in Q8_0 and 8bit were measured."""
    monkeypatch.setattr(verify, "probes", lambda max_tokens: ["a", "some words"])
    source = tmp_path / "source"
    model = tiny.make(name, source, hidden_size=64, initializer_range=0.1)
    expected = reference(model, source, "mean")
    for folder in convert(source, tmp_path / "out", ["onnx:int8", "gguf:Q8_0", "mlx:8bit"]):
        with Embedder(folder) as embedder:
            cosines = (embedder.encode(TEXTS) * expected).sum(axis=1)
            print(f"{name}, {folder.name}: {cosines.min():.5f}")
        assert cosines.min() >= 0.9995


def test_a_checkpoint_in_shards_half_precision_and_with_a_prefix(tmp_path: Path) -> None:
    source = tmp_path / "source"
    model = tiny.make("bert", source).to(torch.bfloat16)
    state = {f"bert.{name}": value for name, value in model.state_dict().items()}
    (source / "model.safetensors").unlink()
    model.save_pretrained(source, state_dict=state, max_shard_size="20KB")
    assert len(list(source.glob("model-*-of-*.safetensors"))) > 1
    with Embedder(*convert(source, tmp_path / "out", ["onnx:float32"])) as embedder:
        np.testing.assert_allclose(embedder.encode(TEXTS), reference(model.float(), source, "mean"), atol=TOLERANCE)


def test_the_graph_file_says_which_attention(tmp_path: Path) -> None:
    tiny.make("bert", tmp_path / "source")
    spec = json.loads(
        (convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])[0] / "edge_embed.json").read_text()
    )
    assert spec["attention"] == "full"


def test_rotary_positions_scaled_linearly(tmp_path: Path) -> None:
    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e3}
    model = tiny.make("qwen3", tmp_path / "source", "lasttoken", rope_parameters=rope)
    with Embedder(*convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])) as embedder:
        expected = reference(model, tmp_path / "source", "last")
        np.testing.assert_allclose(embedder.encode(TEXTS), expected, atol=TOLERANCE)


def test_theta_where_older_configs_keep_it(tmp_path: Path) -> None:
    model = tiny.make("eurobert", tmp_path / "source", "lasttoken")
    change(tmp_path / "source", rope_parameters=None, rope_theta=5e3)
    with Embedder(*convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])) as embedder:
        expected = reference(model, tmp_path / "source", "last")
        np.testing.assert_allclose(embedder.encode(TEXTS), expected, atol=TOLERANCE)


def change(folder: Path, **values: Any) -> None:
    """Change keys of config.json; None removes one."""
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rope_parameters": None, "rope_theta": None}, "no rope_theta"),
        ({"rope_parameters": {"rope_type": "default"}, "rope_theta": None}, "no rope_theta"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type='yarn' is not implemented"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2}, "rope_parameters": None, "rope_theta": 1e4}, "'dynamic'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is not implemented"),
        ({"use_sliding_window": "yes"}, "use_sliding_window='yes' is not implemented"),
        ({"is_causal": "no"}, "is_causal='no' is not implemented; True or False or None is"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types="),
        ({"hidden_act": "gelu"}, "hidden_act='gelu' is not implemented; 'silu' is"),
        ({"attention_bias": True}, "attention_bias=True is not implemented"),
        ({"num_key_value_heads": 3}, "4 heads do not share 3 key heads"),
        ({"rms_norm_eps": None}, "lacks 'rms_norm_eps'"),
        ({"num_hidden_layers": 1, "layer_types": None}, "tensors have no place in this architecture"),
    ],
)
def test_values_of_qwen3_that_are_not_implemented(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    tiny.make("qwen3", tmp_path / "source", "lasttoken")
    change(tmp_path / "source", **values)
    with pytest.raises(ModelError, match=message):
        convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])
    assert list((tmp_path / "out").glob("*")) == []


@pytest.mark.parametrize("name", ["mistral", "qwen2"])
def test_texts_are_cut_to_what_a_window_sees(name: str, tmp_path: Path) -> None:
    """Up to there every token sees what it would without a window; one token more, and its last would not."""
    windows: dict[str, Any] = {"sliding_window": 24, "use_sliding_window": True, "max_window_layers": 1}
    model = tiny.make(name, tmp_path / "source", "lasttoken", **windows)
    whole = tiny.make(name, tmp_path / "whole", "lasttoken", sliding_window=None)
    ids = torch.from_numpy(TextTokenizer(tmp_path / "source" / "tokenizer.json", 25).tokenize(["z" * 99]).ids[0])[None]
    with torch.inference_mode():
        windowed, full = (one(ids.long()).last_hidden_state[0] for one in (model, whole))
        exact = model(torch.cat([ids[:, :23], ids[:, -1:]], dim=1).long()).last_hidden_state[0, -1].numpy()
    assert (windowed[:24] - full[:24]).abs().max() < 1e-5 < 1e-2 < (windowed[24] - full[24]).abs().max()
    (folder,) = convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])
    with Embedder(folder) as embedder:
        assert embedder.spec.max_tokens == 24
        with pytest.warns(TruncationWarning, match="cut to 24 tokens"):
            vector = embedder.encode("z" * 99)
    np.testing.assert_allclose(vector, exact / np.linalg.norm(exact), atol=TOLERANCE)
    for opened in (folder, tmp_path / "source"):
        with pytest.raises(InputError, match=r"max_tokens=25: layers of this model see 24 tokens at a time"):
            read_folder(opened, overrides={"max_tokens": 25})
    with pytest.raises(InputError, match=r"which is not implemented: pass 24 at most"):
        convert(tmp_path / "source", tmp_path / "longer", ["onnx:float32"], spec={"max_tokens": 25})


def test_attention_that_the_description_states(tmp_path: Path) -> None:
    """What config.json leaves open a user says, or the facts: the same vectors as if config.json had said it."""
    model = tiny.make("qwen2-both-sides", tmp_path / "source", "lasttoken")
    change(tmp_path / "source", is_causal=None, auto_map={"AutoModel": "modeling.Qwen2Model"})
    with pytest.raises(
        ModelError, match=r"auto_map names the model's own code 'modeling\.Qwen2Model'.* has no is_causal"
    ):
        convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])
    (folder,) = convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"], spec={"attention": "full"})
    config = json.loads((folder / "config.json").read_text())
    assert (config["is_causal"], "auto_map" in config) == (False, False)
    with Embedder(folder) as embedder:
        assert embedder.spec.attention == "full"
        np.testing.assert_allclose(
            embedder.encode(TEXTS), reference(model, tmp_path / "source", "last"), atol=TOLERANCE
        )
    with pytest.raises(InputError, match="attention='causal' contradicts the checkpoint, which says 'full'"):
        convert(folder_with(tmp_path, is_causal=False), tmp_path / "x", ["onnx:float32"], spec={"attention": "causal"})


def folder_with(tmp_path: Path, **values: Any) -> Path:
    """Change config.json of the source, and return its folder."""
    change(tmp_path / "source", **values)
    return tmp_path / "source"


def test_texts_are_cut_to_the_positions_that_tokens_can_have(tmp_path: Path) -> None:
    """RoBERTa's table has two rows that no token takes."""
    model = tiny.make("roberta", tmp_path / "source", max_position_embeddings=32)
    folder = convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])[0]
    ids = TextTokenizer(folder / "tokenizer.json", 30).tokenize(["z" * 99]).ids[0]
    with torch.inference_mode():
        rows = model(torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state[0].numpy()
    with Embedder(folder) as embedder:
        assert embedder.spec.max_tokens == 30
        with pytest.warns(TruncationWarning, match="cut to 30 tokens"):
            vector = embedder.encode("z" * 99)
    exact = rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0))
    np.testing.assert_allclose(vector, exact, atol=TOLERANCE)
