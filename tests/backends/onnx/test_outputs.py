"""Which output of a graph is taken, and which graphs cannot do what the spec asks for after them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_embed import UnsupportedModelError
from edge_embed.backends.onnx.outputs import choose_output
from edge_embed.spec.dense import Dense
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import File

SPEC = ModelSpec(name="m", architecture="bert", dim=8, max_tokens=9, pooling="mean", normalize=True)
MODULE = Dense(file=File(path="2_Dense/model.safetensors"), in_features=8, out_features=8)
OTHERS = [replace(SPEC, dense=(MODULE,)), replace(SPEC, include_prompt=False)]
PATH = Path("model.onnx")


def test_rows_are_taken_where_pooling_inside_would_be_another() -> None:
    """sentence-transformers exports both, and the pooled one comes after the model's Dense modules."""
    names = ["token_embeddings", "sentence_embedding"]
    assert [choose_output(names, PATH, spec) for spec in OTHERS] == ["token_embeddings"] * 2
    ours = ["last_hidden_state", "pooled_hidden_state"]
    assert choose_output(ours, PATH, SPEC) == "pooled_hidden_state"
    assert choose_output(["sentence_embedding"], PATH, SPEC) == "sentence_embedding"


@pytest.mark.parametrize(
    ("spec", "why"),
    [(OTHERS[0], "Dense modules follow its pooling"), (OTHERS[1], "include_prompt=false pools without the prompt")],
)
def test_graphs_that_pool_inside_are_refused_there(spec: ModelSpec, why: str) -> None:
    for names in (["sentence_embedding"], ["output"]):
        with pytest.raises(UnsupportedModelError, match=f"pools inside, and {why}: export it with an output 'last_hi"):
            choose_output(names, PATH, spec)
