"""ModernBERT in every format against transformers: windows smaller than the texts, in company and alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from edge_embed import CorruptModelError, UnsupportedModelError
from edge_embed.architectures import architecture
from edge_embed.backends import Batch
from edge_embed.spec.weights import Format
from edge_embed_convert.gguf.names import modernbert as gguf_names

from support import tiny
from support.formats import FORMATS, exact_rows, furthest, opened, some_ids

LENGTHS = (5, 1, 64, 2, 33, 200, 65, 66, 67, 129, 6, 7)
TOLERANCE = 1e-4  # of an element of unit rows; measured: ONNX 5e-6, MLX 1.2e-5, GGUF 7e-6
# GGUF 1.4e-3: llama.cpp reads GELU, with tanh, from a table in float16. 1.6e-4 of an oracle with such a table.
TABLE = 3e-3
LOCAL = ["sliding_attention"]
SHAPES: dict[str, dict[str, Any]] = {
    "as published": {"hidden_activation": "silu"},
    "a window wider than a block": {
        **{"hidden_size": 48, "num_attention_heads": 3, "num_hidden_layers": 5, "intermediate_size": 20},
        **{"local_attention": 140, "hidden_activation": "silu"},
    },
    "local layers alone, of an odd window": {
        **{"layer_types": LOCAL * 4, "local_attention": 9, "hidden_activation": "silu"},
    },
    "in an order of its own": {
        **{"layer_types": [*LOCAL, "full_attention", "full_attention", *LOCAL], "local_attention": 2},
        "hidden_activation": "silu",
    },
    "with GELU": {},
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_those_of_transformers(shape: str, kind: Format, tmp_path: Path) -> None:
    model = tiny.make("modernbert", tmp_path, **SHAPES[shape])
    if kind == "gguf" and shape.startswith("local layers alone"):
        with pytest.raises(UnsupportedModelError, match=r"every layer sees a window alone, and llama.cpp"):
            opened(tmp_path, kind)
        return
    ids = some_ids(300, LENGTHS)
    exact = exact_rows(model, ids)
    backend = opened(tmp_path, kind)
    together = furthest(backend.forward(Batch(ids)), exact)
    alone = furthest([backend.forward(Batch([one]))[0] for one in ids[:6:5]], exact[:6:5])
    backend.close()
    print(f"{shape}, {kind}: {together:.1e} together, {alone:.1e} alone")
    assert max(together, alone) < (TABLE if shape == "with GELU" and kind == "gguf" else TOLERANCE)


def change(folder: Path, **values: Any) -> None:
    """Change keys of config.json; None removes one."""
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_checkpoint_as_it_was_published_first(kind: Format, tmp_path: Path) -> None:
    """Thetas and the order of layers under their older names, tensors below `model.`, and a head beside them."""
    ropes = {"full_attention": {"rope_theta": 900.0}, "sliding_attention": {"rope_theta": 50.0}}
    model = tiny.make("modernbert", tmp_path, rope_parameters=ropes, num_hidden_layers=5, hidden_activation="silu")
    change(tmp_path, rope_parameters=None, layer_types=None)
    change(tmp_path, global_rope_theta=900.0, local_rope_theta=50.0, global_attn_every_n_layers=3)
    tensors = {f"model.{name}": value for name, value in load_file(tmp_path / "model.safetensors").items()}
    tensors["head.dense.weight"] = tensors["decoder.bias"] = tensors["model.final_norm.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    ids = some_ids(300, (40, 3, 90))
    backend = opened(tmp_path, kind)
    assert furthest(backend.forward(Batch(ids)), exact_rows(model, ids)) < TOLERANCE
    backend.close()


CONFIG = {
    **{"model_type": "modernbert", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 4, "norm_eps": 1e-5},
    **{"num_attention_heads": 2, "vocab_size": 9},
}


def test_what_a_config_leaves_out_is_as_in_transformers() -> None:
    read = architecture("modernbert").read(CONFIG)
    assert read.local == (False, True, True, False)
    assert (read.theta, read.local_theta, read.reach) == (160_000, 10_000, 64)
    both = {"rope_parameters": {"full_attention": {"rope_theta": 7.0}}, "local_rope_theta": 5}
    read = architecture("modernbert").read({**CONFIG, **both})
    assert (read.theta, read.local_theta) == (7, 5)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ({"hidden_activation": "relu"}, UnsupportedModelError, "hidden_activation='relu' is not implemented; 'gelu"),
        ({"layer_types": ["full_attention"]}, CorruptModelError, "are not those of 4 layers"),
        ({"layer_types": ["chunked"] * 4}, UnsupportedModelError, "layer_types has 'chunked'; 'full_attention' and"),
        ({"layer_types": [[]] * 4}, UnsupportedModelError, r"layer_types has \[\]; 'full_attention' and"),
        ({"rope_scaling": {"type": "yarn"}}, UnsupportedModelError, "rope_type='yarn' is not implemented; 'default'"),
        ({"rope_parameters": {"rope_theta": 5.0}}, UnsupportedModelError, "rope_parameters={'rope_theta': '...'} is"),
        ({"rope_parameters": {"full_attention": 5}}, CorruptModelError, "full_attention=5 is not an object"),
        ({"global_rope_theta": 0}, CorruptModelError, "rope_theta=0.0 must be above 0"),
        ({"local_attention": -1}, CorruptModelError, "local_attention=-1 is not a whole number from 1"),
        ({"norm_bias": "no"}, CorruptModelError, "norm_bias: 'no' is not bool"),
        ({"num_attention_heads": 3}, CorruptModelError, "hidden_size=8 is not a multiple of num_attention_heads=3"),
        ({"num_attention_heads": 8}, CorruptModelError, "heads of 1 numbers cannot turn in pairs"),
        ({"num_hidden_layers": 2000}, CorruptModelError, "num_hidden_layers=2000 is more than 1024"),
    ],
)
def test_values_that_are_not_implemented(values: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        architecture("modernbert").read({**CONFIG, **values})


def test_what_llama_cpp_is_told_of_the_order_of_layers() -> None:
    read = architecture("modernbert").read
    assert gguf_names.metadata(read(CONFIG))["attention.sliding_window_pattern"] == 3
    odd = read({**CONFIG, "layer_types": [*LOCAL * 3, "full_attention"]})
    assert gguf_names.metadata(odd)["attention.sliding_window_pattern"] == [True, True, True, False]
    assert "attention.sliding_window" not in gguf_names.metadata(read({**CONFIG, "global_attn_every_n_layers": 1}))


def test_biases_have_no_place_in_llama_cpp(tmp_path: Path) -> None:
    tiny.make("modernbert-biases", tmp_path)
    with pytest.raises(UnsupportedModelError, match=r"'attention_bias', 'mlp_bias', 'norm_bias' true, and llama.cpp"):
        opened(tmp_path, "gguf")
