"""What config.json says of Gemma 3, in the words of each release of transformers, read as transformers reads it."""

from __future__ import annotations

from typing import Any

import pytest

from edge_embed import CorruptModelError
from edge_embed.architectures import attention
from edge_embed.architectures.gemma3_text import FULL, WINDOWED, read
from edge_embed.errors import ModelError

CONFIG: dict[str, Any] = {
    **{"model_type": "gemma3_text", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 8},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6, "vocab_size": 99},
    **{"query_pre_attn_scalar": 24, "sliding_window": 512, "max_position_embeddings": 2048},
}
OLD = {"rope_theta": 5e5, "rope_local_base_freq": 2e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
NEW = {
    FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5},
    WINDOWED: {"rope_type": "default", "rope_theta": 2e4},
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_bidirectional_attention": True},
        {"use_bidirectional_attention": True, "sliding_window": 257},
        {"use_bidirectional_attention": False, "sliding_window_pattern": 3},
        {"layer_types": [FULL, *[WINDOWED] * 7], "_sliding_window_pattern": 6},
        {"rope_parameters": NEW},
        {**OLD, "rope_parameters": None},
        {"rope_parameters": {FULL: {"rope_type": "default"}}, "rope_theta": 7e5},
        {"rope_scaling": None, "rope_theta": 1e6},
    ],
)
def test_a_config_means_what_it_does_in_transformers(changes: dict[str, Any]) -> None:
    theirs = pytest.importorskip("transformers").Gemma3TextConfig(**_copied({**CONFIG, **changes}))
    ours = read({**CONFIG, **changes})
    assert ours.causal is not bool(theirs.use_bidirectional_attention)
    assert attention({**CONFIG, **changes}) == ("causal" if ours.causal else "full")
    assert [WINDOWED if windowed else FULL for windowed in ours.windowed] == theirs.layer_types
    assert ours.before + 1 == theirs.sliding_window  # which counts the token itself
    assert ours.after == (0 if ours.causal else ours.before)
    assert ours.query_scale**2 * theirs.query_pre_attn_scalar == pytest.approx(theirs.head_dim)
    for number, kind in ((ours.windowed.index(kind == WINDOWED), kind) for kind in (FULL, WINDOWED)):
        layer, rope = ours.of_layer(number), theirs.rope_parameters[kind]
        assert layer.rope_theta == rope["rope_theta"]
        assert layer.rope_divisor == rope.get("factor", 1.0)


def _copied(config: dict[str, Any]) -> dict[str, Any]:
    """Return a copy all the way down: transformers changes what it is given."""
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in config.items()}


def test_what_may_be_left_out() -> None:
    left = ("head_dim", "num_key_value_heads", "query_pre_attn_scalar", "rms_norm_eps", "sliding_window")
    config = {key: value for key, value in CONFIG.items() if key not in left}
    theirs, ours = pytest.importorskip("transformers").Gemma3TextConfig(**config), read(config)
    for key in left:
        assert getattr(ours, key) == getattr(theirs, key)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attn_logit_softcapping": 50.0}, r"attn_logit_softcapping=50\.0 is not implemented; None is"),
        ({"attention_bias": True}, "attention_bias=True is not implemented"),
        ({"hidden_activation": "gelu"}, "hidden_activation='gelu' is not implemented; 'gelu_pytorch_tanh' is"),
        ({"is_causal": False}, "is_causal=False is not implemented"),
        ({"use_bidirectional_attention": "all"}, "use_bidirectional_attention='all' is not true or false"),
        ({"layer_types": ["chunked_attention"] * 8}, "layer_types=.* is not implemented"),
        ({"layer_types": [FULL]}, "layer_types names 1 layers of 8"),
        ({"rope_parameters": {"rope_theta": 1e4}}, "rope_parameters has 'rope_theta', not one object for each"),
        ({"rope_parameters": {FULL: {"rope_type": "yarn"}}}, "rope_type='yarn' is not implemented"),
        ({"rope_scaling": {"type": "dynamic"}}, "rope_type='dynamic' is not implemented"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers=1000000000 is more than 1024"),
        ({"query_pre_attn_scalar": 0}, "query_pre_attn_scalar=0 is not a whole number from 1"),
        ({"num_key_value_heads": 3}, "4 heads do not share 3 key heads"),
        ({"vocab_size": None}, "vocab_size=None is not a whole number"),
    ],
)
def test_what_is_not_implemented_or_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=rf"config\.json: {message}"):
        read({**CONFIG, **changes})
    with pytest.raises(CorruptModelError, match=r"config\.json lacks 'hidden_size', 'intermediate_size'"):
        read({})
