"""NomicBERT in every format against transformers, in both dialects of its config and by both kinds of its names."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from edge_embed import CorruptModelError, Embedder, InputError, UnsupportedModelError
from edge_embed.architectures import architecture, dim, settled
from edge_embed.architectures._post_norm import Config
from edge_embed.backends import Batch
from edge_embed.layouts.folder import read_folder
from edge_embed.spec.weights import Format
from edge_embed_convert import convert
from edge_embed_convert.variant import open_variant
from edge_embed_convert.verification import verify

from support import tiny
from support.formats import FORMATS, exact_rows, furthest, opened, some_ids

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sentence_transformers import SentenceTransformer

TEXTS = ["a", "hello, world!", "the quick brown fox 0123456789"]
LENGTHS = (5, 1, 64, 2, 33, 200)
TOLERANCE = 1e-4  # of an element of unit rows; 6e-7 was measured, in every format
SHAPES: dict[str, dict[str, Any]] = {
    "as published": {},
    "wide heads, three layers, one type": {
        **{"hidden_size": 48, "num_attention_heads": 2, "num_hidden_layers": 3, "intermediate_size": 20},
        **{"type_vocab_size": 1, "layer_norm_eps": 1e-5, "rope_parameters": {"rope_theta": 50.0}},
    },
}
# The names of transformers' class for those of the model's own code, which it saves.
CLASS_NAMES = {
    "emb_ln": "embeddings.LayerNorm",
    "encoder.layers": "layers",
    "attn.out_proj": "self_attn.o_proj",
    "fc11": "up_proj",
    "fc12": "gate_proj",
    "fc2": "down_proj",
    "norm1": "post_attention_layernorm",
    "norm2": "post_mlp_layernorm",
}


@pytest.fixture
def few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a conversion verify little, where the test itself measures more."""
    monkeypatch.setattr(verify, "probes", lambda max_tokens: ["a", "some words"])


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_those_of_transformers(shape: str, kind: Format, tmp_path: Path) -> None:
    model = tiny.make("nomic-bert", tmp_path, max_position_embeddings=512, **SHAPES[shape])
    ids = some_ids(len(tiny.WORDS), LENGTHS)
    exact = exact_rows(model, ids)
    backend = opened(tmp_path, kind)
    together = furthest(backend.forward(Batch(ids)), exact)
    alone = furthest([backend.forward(Batch([one]))[0] for one in ids[:6:5]], exact[:6:5])
    backend.close()
    print(f"{shape}, {kind}: {together:.1e} together, {alone:.1e} alone")
    assert max(together, alone) < TOLERANCE


def named_as_in_the_class(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Give tensors the names of transformers' class, below that of the model."""
    named = {}
    for name, value in tensors.items():
        new = name
        for own, theirs in CLASS_NAMES.items():
            new = re.sub(rf"(^|\.){re.escape(own)}\.", rf"\1{theirs}.", new)
        if "attn.Wqkv" in new:
            for part, rows in zip("qkv", np.split(value, 3), strict=True):
                named["nomic_bert." + new.replace("attn.Wqkv", f"self_attn.{part}_proj")] = rows
        else:
            named["nomic_bert." + new] = value
    return named


@pytest.mark.parametrize("kind", FORMATS)
def test_tensors_by_the_names_of_the_class(kind: Format, tmp_path: Path) -> None:
    model = tiny.make("nomic-bert", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert "encoder.layers.1.attn.Wqkv.weight" in tensors  # transformers saves those of the model's own code
    save_file(named_as_in_the_class(tensors), tmp_path / "model.safetensors", {"format": "pt"})
    ids = some_ids(len(tiny.WORDS), (40, 3))
    backend = opened(tmp_path, kind, 96)
    assert furthest(backend.forward(Batch(ids)), exact_rows(model, ids)) < TOLERANCE
    backend.close()


# As nomic-embed-text-v1's own config.json has it, with the numbers that a test replaces.
OWN: dict[str, Any] = {
    **{"model_type": "nomic_bert", "activation_function": "swiglu", "causal": False, "n_positions": 8192},
    **{"rotary_emb_fraction": 1.0, "rotary_emb_base": 1000, "rotary_emb_interleaved": False, "prenorm": False},
    **{"rotary_emb_scale_base": None, "rotary_scaling_factor": None, "use_rms_norm": False, "n_inner": 3072},
    **{"qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "layer_norm_epsilon": 1e-12},
    **{"type_vocab_size": 2, "pad_vocab_size_multiple": 64, "vocab_size": 30528, "max_trained_positions": 2048},
    **{"n_embd": 768, "n_head": 12, "n_layer": 12, "parallel_block": False, "use_flash_attn": True},
}


@pytest.mark.parametrize("kind", FORMATS)
def test_the_dialect_of_its_own_code(kind: Format, tmp_path: Path) -> None:
    """GPT-2's names, a vocabulary that is filled up to rows of eight, and an MLP whose width is rounded up to 256."""
    rows = -(-len(tiny.WORDS) // 8) * 8
    model = tiny.make("nomic-bert", tmp_path, vocab_size=rows, intermediate_size=256)
    own = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_inner": 200, "vocab_size": len(tiny.WORDS)}
    (tmp_path / "config.json").write_text(json.dumps({**OWN, **own, "pad_vocab_size_multiple": 8}))
    ids = some_ids(len(tiny.WORDS), (40, 3))
    backend = opened(tmp_path, kind, 96)
    assert furthest(backend.forward(Batch(ids)), exact_rows(model, ids)) < TOLERANCE
    backend.close()


def read(config: dict[str, Any]) -> Config:
    """Read a config.json in either dialect."""
    found: Config = architecture("nomic_bert").read(settled(config, ()))
    return found


def test_both_dialects_say_the_same() -> None:
    found = read(OWN)
    berts = {
        **{"model_type": "nomic_bert", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
        **{"intermediate_size": 3072, "vocab_size": 30528, "max_position_embeddings": 2048},
    }
    assert read(berts) == read({**OWN, **berts}) == found
    assert (found.hidden_size, found.intermediate_size, found.vocab_size, found.rope_theta) == (768, 3072, 30528, 1000)
    assert dim(OWN) == dim(berts) == 768
    assert read({**OWN, "vocab_size": 30522}).vocab_size == 30528
    assert read({**OWN, "n_inner": None}).intermediate_size == 2048  # 8/3 of the width
    assert read({key: value for key, value in OWN.items() if key != "rotary_emb_base"}).rope_theta == 10_000
    scaled = {**berts, "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1000.0}}
    assert read(scaled) == found


@pytest.mark.usefixtures("few_probes")
def test_a_published_folder_is_in_the_dialect_of_the_class(tmp_path: Path) -> None:
    """sentence-transformers loads the folder, and gives its vectors."""
    tiny.make("nomic-bert", tmp_path / "source", intermediate_size=256)
    own = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_inner": 200, "vocab_size": len(tiny.WORDS)}
    (tmp_path / "source" / "config.json").write_text(json.dumps({**OWN, **own, "pad_vocab_size_multiple": 1}))
    (folder,) = convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"], keep_checkpoint=True)
    assert not json.loads((folder / "config.json").read_text()).keys() & {"n_embd", "n_inner", "n_layer", "n_head"}
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    with Embedder(folder) as embedder:
        np.testing.assert_allclose(embedder.encode(TEXTS), theirs, atol=1e-6)  # 3e-7 was measured


@pytest.mark.parametrize(("values", "positions"), [({}, 2048), ({"max_trained_positions": 512}, 512)])
@pytest.mark.parametrize("factor", [None, 2.0])
def test_texts_are_cut_where_rotations_would_be_scaled(
    values: dict[str, Any], positions: int, factor: float | None, tmp_path: Path
) -> None:
    """With a rotary_scaling_factor vectors of longer texts would depend on it; without, the model was not trained."""
    tiny.make("nomic-bert", tmp_path)
    own = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_inner": 48, "rotary_scaling_factor": factor, **values}
    (tmp_path / "config.json").write_text(json.dumps({**OWN, **own}))
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 8192}')
    assert read_folder(tmp_path).spec.max_tokens == positions
    longer = {"max_tokens": positions + 1}
    if factor is None:
        assert open_variant(tmp_path, None, None, None, longer).spec.max_tokens == positions + 1
        return
    with pytest.raises(InputError, match=f"max_tokens={positions + 1}: .* scaled beyond, .*: pass {positions} at most"):
        open_variant(tmp_path, None, None, None, longer)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"moe_every_n_layers": 2},
            "moe_every_n_layers=2 is not implemented: models with experts, as nomic-embed-text-v2",
        ),
        ({"activation_function": "gelu"}, "activation_function='gelu' is not implemented; 'swiglu' is"),
        ({"prenorm": True}, "prenorm=True is not implemented; False is"),
        ({"use_rms_norm": True}, "use_rms_norm=True is not implemented"),
        ({"qkv_proj_bias": True}, "qkv_proj_bias=True is not implemented"),
        ({"rotary_emb_fraction": 0.5}, "rotary_emb_fraction=0.5 is not implemented; 1.0 is"),
        ({"rotary_emb_interleaved": True}, "rotary_emb_interleaved=True is not implemented"),
        ({"rotary_emb_scale_base": 512}, "rotary_emb_scale_base=512 is not implemented"),
        ({"num_heads_kv": 4}, "num_heads_kv=4 is not implemented"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu' is not implemented"),
        (
            {"rope_parameters": {"rope_type": "yarn"}},
            "rope_type='yarn' is not implemented; 'default' and 'linear' are",
        ),
    ],
)
def test_values_that_are_not_implemented(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=re.escape(message)):
        read({**OWN, **values})


@pytest.mark.parametrize("key", ["activation_function", "rotary_emb_fraction", "qkv_proj_bias", "mlp_fc1_bias"])
def test_what_its_own_code_would_take_for_a_key_left_out_is_not_implemented(key: str) -> None:
    with pytest.raises(UnsupportedModelError, match=f"{key}=.* is not implemented"):
        read({name: value for name, value in OWN.items() if name != key})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 64}, "n_embd=768 and hidden_size=64 are two names of one number"),
        ({"n_head": 5}, "hidden_size=768 is not a multiple of num_attention_heads=5"),
        ({"n_head": 768}, "heads of 1 channels do not make pairs that positions turn"),
        ({"head_dim": 32}, "12 heads of 32 numbers do not share hidden_size=768"),
        ({"n_layer": 0}, "num_hidden_layers=0 is not a whole number"),
        ({"vocab_size": None}, "vocab_size=None is not a whole number"),
        ({"rotary_emb_base": 0}, "rope_theta=0.0 must be above 0"),
    ],
)
def test_numbers_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CorruptModelError, match=re.escape(f"config.json: {message}")):
        read({**OWN, **values})
