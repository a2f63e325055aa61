"""Architectures: what a config means is said once, for every format."""

from __future__ import annotations

import pkgutil
from types import ModuleType
from typing import Any

import pytest

from edge_embed import CorruptModelError, UnsupportedModelError, architectures
from edge_embed.backends.mlx import models
from edge_embed_convert.gguf import names
from edge_embed_convert.onnx import graphs

VISION = {"num_hidden_layers": 4, "hidden_size": 32, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
LLAVA: dict[str, Any] = {"model_type": "llava_next", "text_config": {"model_type": "llama"}, "vision_config": VISION}


@pytest.mark.parametrize("folder", [models, names, graphs], ids=["mlx", "gguf", "onnx"])
def test_every_format_has_every_architecture(folder: ModuleType) -> None:
    found = {module.name for module in pkgutil.iter_modules(folder.__path__)}
    lacking = {"clip", "gte", "mpnet", "siglip"} if folder is names else set()  # which llama.cpp does not know
    assert {name for name in found if not name.startswith("_")} == set(architectures.names()) - lacking


@pytest.mark.parametrize("name", architectures.names())
def test_an_architecture_states_what_is_asked_of_it(name: str) -> None:
    known = architectures.architecture(name)
    assert known.ATTENTION in ("full", "causal")
    assert known.TABLE in architectures.tables()
    assert isinstance(known.PREFIXES, tuple)
    assert isinstance(known.UNUSED, tuple)
    with pytest.raises((CorruptModelError, UnsupportedModelError)):
        known.read({})
    if "image" in architectures.parts(name):
        assert isinstance(known.IMAGE_PREFIXES, tuple)


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(UnsupportedModelError, match=r"model_type 'mamba' is not implemented; 'bert', .*'qwen3'.* are"):
        architectures.architecture("mamba")


@pytest.mark.parametrize(("layer", "layers"), [(-1, 4), (-2, 3), (-5, 0), (0, 0), (2, 2), (4, 4)])
def test_a_feature_layer_is_counted_from_either_end(layer: int, layers: int) -> None:
    """transformers takes hidden_states[layer], of which four layers have five."""
    read = architectures.architecture("llava_next").read_image
    assert read({**LLAVA, "vision_feature_layer": layer}).layers == layers


@pytest.mark.parametrize("layer", [-6, 5, [1, 2], "1", None])
def test_a_feature_layer_that_is_none_is_refused(layer: object) -> None:
    read = architectures.architecture("llava_next").read_image
    with pytest.raises(UnsupportedModelError, match="vision_feature_layer="):
        read({**LLAVA, "vision_feature_layer": layer})


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert", "hidden_size": 384}, 384),
        ({"model_type": "llava_next", "text_config": {}}, 4096),
        ({"model_type": "jina_clip", "text_config": {"embed_dim": 768}}, 768),
        ({"model_type": "of somebody", "text_config": {"hidden_size": 64}}, 64),
        ({"model_type": "of somebody"}, 0),
        ({"model_type": "distilbert", "dim": 768}, 768),
    ],
)
def test_the_length_of_a_vector_is_found(config: dict[str, Any], expected: int) -> None:
    assert architectures.dim(config) == expected


DECODER: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 4, "max_position_embeddings": 32768}
WHOLE = {**DECODER, "intermediate_size": 64, "num_attention_heads": 4, "rms_norm_eps": 1e-6, "vocab_size": 99}
WHOLE |= {"rope_theta": 1e4}
WINDOWED = {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 512, "max_window_layers": 2}


@pytest.mark.parametrize(
    ("values", "positions"),
    [
        ({"model_type": "mistral"}, 4096),  # transformers' default
        ({"model_type": "mistral", "sliding_window": None}, 32768),
        ({"model_type": "mistral", "sliding_window": 99999}, 32768),
        ({"model_type": "mistral", "sliding_window": 16}, 16),
        ({"model_type": "qwen2"}, 32768),
        ({"model_type": "qwen3", "sliding_window": 512, "max_window_layers": 0}, 32768),
        (WINDOWED, 512),
        ({**WINDOWED, "model_type": "qwen3"}, 512),
        ({**WINDOWED, "max_window_layers": 4}, 32768),
        ({**WINDOWED, "max_window_layers": None}, 32768),  # 28, transformers' default
        ({**WINDOWED, "sliding_window": None}, 32768),
        ({**WINDOWED, "layer_types": ["full_attention"] * 4}, 32768),
        ({**WINDOWED, "max_window_layers": 4, "layer_types": ["full_attention", "sliding_attention"]}, 512),
    ],
)
def test_positions_end_where_a_window_would_hide_the_beginning(values: dict[str, Any], positions: int) -> None:
    assert architectures.text_values({**DECODER, **values})["max_position_embeddings"] == positions


@pytest.mark.parametrize("window", [0, -1, 2.5, "4096", True])
def test_a_window_that_is_none(window: object) -> None:
    with pytest.raises(CorruptModelError, match=r"sliding_window=.* is not a whole number"):
        architectures.text_values({**DECODER, "model_type": "mistral", "sliding_window": window})


def test_attention_is_what_config_json_says_or_else_what_is_stated() -> None:
    qwen, own = (
        {**WHOLE, "model_type": "qwen2"},
        {"auto_map": {"AutoModelForCausalLM": "modeling_gritlm7b.MistralForCausalLM"}},
    )
    stated = architectures.with_attention
    assert stated(qwen, None) == qwen
    assert stated(qwen, "full") == {**qwen, "is_causal": False}
    assert stated(qwen, "causal") == qwen
    assert stated({**qwen, **own, "is_causal": False}, "causal") == {**qwen, **own, "is_causal": False}
    assert stated({"model_type": "bert", **own}, None) == {"model_type": "bert", **own}
    assert stated({"model_type": "jina_embeddings_v5", **own}, None) == {"model_type": "jina_embeddings_v5", **own}
    assert stated({**WHOLE, **own, "model_type": "mistral"}, "full")["is_causal"] is False
    with pytest.raises(
        UnsupportedModelError, match=r"the model's own code 'modeling_gritlm7b.* spec=\{\"attention\": \"full\""
    ):
        stated({**own, "model_type": "mistral"}, None)
    assert architectures.attention({**WHOLE, "model_type": "mistral", "is_causal": False}) == "full"
    assert architectures.attention({**WHOLE, "model_type": "mistral", "is_causal": None}) == "causal"
    assert architectures.attention({**LLAVA, "text_config": {"model_type": "llama", "is_causal": False}}) == "full"


def test_a_private_model_type_is_told_by_its_tensors() -> None:
    private = "jina_embeddings_v5"
    assert architectures.public_type(private, ["layers.0.self_attn.q_norm.weight"]) == "qwen3"
    assert architectures.public_type(private, ["layers.0.self_attn.q_proj.weight"]) == "eurobert"
    assert architectures.public_type("bert", []) == "bert"


BERT = {
    **{"model_type": "bert", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 9},
    **{"num_attention_heads": 2, "layer_norm_eps": 1e-12, "type_vocab_size": 2, "max_position_embeddings": 9},
}
ROBERTA = {**BERT, "model_type": "xlm-roberta"}
MPNET = {**BERT, "model_type": "mpnet", "relative_attention_num_buckets": 32}
DISTIL = {
    **{"model_type": "distilbert", "dim": 8, "hidden_dim": 8, "n_layers": 1, "vocab_size": 9},
    **{"n_heads": 2, "max_position_embeddings": 9, "sinusoidal_pos_embds": True},
}
LLAMA = {
    **{"model_type": "llama", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 9},
    **{"num_attention_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1e4},
}


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (BERT, {"num_attention_heads": 0}, "num_attention_heads=0 is not a whole number from 1"),
        (BERT, {"hidden_size": "8"}, "hidden_size='8' is not a whole number"),
        (BERT, {"num_hidden_layers": 10**9}, "num_hidden_layers=1000000000 is more than 1024, which no model has"),
        (BERT, {"layer_norm_eps": []}, r"layer_norm_eps=\[\] is not a number"),
        (
            ROBERTA,
            {"max_position_embeddings": 2},
            "max_position_embeddings=2 leaves no position from 2 on, where texts",
        ),
        (ROBERTA, {"pad_token_id": -1}, "pad_token_id=-1 is not a whole number from 0"),
        (DISTIL, {"n_heads": 3}, "hidden_size=8 is not a multiple of num_attention_heads=3"),
        (MPNET, {"max_position_embeddings": 2}, "max_position_embeddings=2 leaves no position from 2 on, where"),
        (LLAMA, {"num_attention_heads": 0}, "num_attention_heads=0 is not a whole number from 1"),
        (LLAMA, {"num_key_value_heads": -1}, "num_key_value_heads=-1 is not a whole number"),
        (LLAMA, {"rope_scaling": "linear"}, "rope_scaling='linear' is not an object"),
        (LLAMA, {"rope_theta": 0}, "rope_theta=0.0 must be above 0"),
        (LLAVA, {"text_config": [1]}, r"text_config=\[1\] is not an object"),
    ],
)
def test_numbers_that_cannot_be_are_refused(config: dict[str, Any], change: dict[str, Any], message: str) -> None:
    known = architectures.architecture(config["model_type"])
    if config is not LLAVA:
        known.read(config)
    with pytest.raises(CorruptModelError, match=f"config.json: {message}"):
        known.read({**config, **change})


def test_positions_begin_after_the_padding_token() -> None:
    known = architectures.architecture("xlm-roberta")
    assert (known.read(ROBERTA).first_position, known.read(ROBERTA).positions) == (2, 7)
    assert known.read({**ROBERTA, "pad_token_id": 0, "first_position": 5}).first_position == 1
    assert architectures.text_values({**ROBERTA, "pad_token_id": 3})["max_position_embeddings"] == 5
    assert architectures.text_values({**ROBERTA, "max_position_embeddings": "9"})["max_position_embeddings"] == "9"


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (ROBERTA, {"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key' is not implem"),
        (ROBERTA, {"is_decoder": True}, "is_decoder=True is not implemented; False is"),
        (ROBERTA, {"hidden_act": "relu"}, "hidden_act='relu' is not implemented; 'gelu' or"),
        (DISTIL, {"activation": "relu"}, "activation='relu' is not implemented; 'gelu' or"),
        (MPNET, {"relative_attention_num_buckets": 64}, "relative_attention_num_buckets=64 is not implemented; 32 is"),
    ],
)
def test_values_of_berts_kin_that_are_not_implemented(
    config: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    known = architectures.architecture(config["model_type"])
    known.read(config)
    with pytest.raises(UnsupportedModelError, match=message):
        known.read({**config, **values})


def test_what_distilbert_lacks_is_named_as_it_names_it() -> None:
    known = architectures.architecture("distilbert")
    assert (known.read(DISTIL).type_vocab_size, known.read(DISTIL).positions) == (0, 9)
    with pytest.raises(CorruptModelError, match=r"config\.json lacks 'dim'"):
        known.read({name: value for name, value in DISTIL.items() if name != "dim"})


def test_mpnets_positions_begin_at_2_whatever_pads() -> None:
    assert architectures.architecture("mpnet").read({**MPNET, "pad_token_id": 5}).positions == 7
    assert architectures.text_values({**MPNET, "pad_token_id": 5})["max_position_embeddings"] == 7


def test_distances_share_biases_as_in_transformers() -> None:
    torch = pytest.importorskip("torch")
    encoder = pytest.importorskip("transformers.models.mpnet.modeling_mpnet").MPNetEncoder
    expected = encoder.relative_position_bucket(torch.arange(-513, 514)).numpy()
    assert architectures.architecture("mpnet").buckets(514).tolist() == expected.tolist()
