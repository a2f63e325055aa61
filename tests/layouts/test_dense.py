"""Dense modules of a folder: what is read, and what is refused by its name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from edge_embed import CorruptModelError, Embedder, InputError, ModelError, ModelSpec, UnsupportedModelError
from edge_embed.backends.fake import FakeBackend
from edge_embed.layouts.folder import read_folder
from edge_embed.pipeline.head import read_head
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.spec.dense import Dense
from edge_embed.spec.weights import File

from support import tiny

TANH = "torch.nn.modules.activation.Tanh"
CONFIG = {"in_features": 32, "out_features": 8, "bias": True, "activation_function": TANH}


@pytest.fixture
def folder(source: Path) -> Path:
    """Return a tiny BERT whose vectors a Dense module makes 8 numbers long."""
    (source / "2_Dense").mkdir()
    (source / "2_Dense" / "config.json").write_text(json.dumps(CONFIG))
    weights = {"linear.weight": np.ones((8, 32), np.float32), "linear.bias": np.ones(8, np.float32)}
    save_file(weights, source / "2_Dense" / "model.safetensors")
    order(source, "Transformer", "1_Pooling", "2_Dense", "2_Normalize")
    return source


def order(folder: Path, *places: str) -> None:
    modules = [
        {
            "path": "" if place == "Transformer" else place,
            "type": f"sentence_transformers.models.{place.split('_')[-1]}",
        }
        for place in places
    ]
    (folder / "modules.json").write_text(json.dumps(modules))


def test_a_dense_module_is_read(folder: Path) -> None:
    model = read_folder(folder)
    assert (model.spec.dim, model.spec.width) == (8, 32)
    file = File(path="2_Dense/model.safetensors")
    assert model.spec.dense == (Dense(file=file, in_features=32, out_features=8, bias=True, activation="tanh"),)
    assert ModelSpec.from_json(model.spec.to_json()) == model.spec
    assert "dense" not in ModelSpec.from_json(json.dumps({**json.loads(model.spec.to_json()), "dense": []})).to_json()
    np.testing.assert_allclose(read_head(folder, model.spec).finish(np.full((1, 32), 0.01, np.float32)), np.tanh(1.32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_features": 31}, "in_features=31, what comes before gives 32 numbers"),
        ({"out_features": "8"}, "out_features='8' is not a whole number"),
        ({"bias": "no"}, "bias='no' is not true or false"),
        (
            {"activation_function": "torch.nn.modules.activation.Mish"},
            "activation_function='torch.nn.modules.activation",
        ),
        ({"use_residual": True}, "use_residual=True of a Dense module is not implemented"),
        ({"module_input_name": "token_embeddings"}, "module_input_name='token_embeddings' of a Dense module is not"),
        ({"scale": 2}, "'scale' of a Dense module is not implemented"),
    ],
)
def test_modules_that_are_not_implemented_or_do_not_fit(folder: Path, changes: dict[str, Any], message: str) -> None:
    (folder / "2_Dense" / "config.json").write_text(json.dumps(CONFIG | changes))
    with pytest.raises(ModelError, match=f"2_Dense/config.json: {re.escape(message)}"):
        read_folder(folder)


def test_an_embedding_gemma_whose_folder_tells_of_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As other people's ONNX folders have it, whose graph gives rows as well: pooled, these are not its vectors."""
    tiny.make("gemma3_text", tmp_path)
    read_folder(tmp_path)
    assert not caplog.messages
    (tmp_path / "modules.json").unlink()
    for _ in range(2):
        assert read_folder(tmp_path, overrides={"pooling": "mean"}).spec.dense == ()
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path} holds no Dense modules: if it is of EmbeddingGemma, which has two, its vec")


def test_modules_in_an_order_that_is_not_implemented(folder: Path) -> None:
    order(folder, "Transformer", "1_Pooling", "2_Normalize", "2_Dense")
    with pytest.raises(UnsupportedModelError, match="in the order Transformer, Pooling, Normalize, Dense are not impl"):
        read_folder(folder)


def test_weights_as_a_pickle_or_nowhere(folder: Path) -> None:
    weights = folder / "2_Dense" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(UnsupportedModelError, match=r"pytorch_model\.bin is a pickle, which can run code of its own"):
        read_folder(folder)
    (folder / "2_Dense" / "pytorch_model.bin").unlink()
    with pytest.raises(CorruptModelError, match=r"lacks 2_Dense/model\.safetensors, the weights of a Dense module"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"linear.weight": (8, 31), "linear.bias": (8,)},
            "linear.weight should have the shape (8, 32), there is shape",
        ),
        ({"linear.weight": (8, 32)}, "linear.bias should have the shape (8,), there is no such tensor"),
        ({"linear.weight": (8, 32), "linear.bias": (8,), "residual.weight": (8, 32)}, "holds 'residual.weight', which"),
    ],
)
def test_weights_that_do_not_fit(folder: Path, weights: dict[str, tuple[int, ...]], message: str) -> None:
    save_file(
        {name: np.ones(shape, np.float32) for name, shape in weights.items()}, folder / "2_Dense/model.safetensors"
    )
    with pytest.raises(ModelError, match=re.escape(message)):
        read_head(folder, read_folder(folder).spec)


def test_weights_that_are_no_numbers(folder: Path) -> None:
    weights = {"linear.weight": np.full((8, 32), np.nan, np.float32), "linear.bias": np.ones(8, np.float32)}
    save_file(weights, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(CorruptModelError, match=r"linear\.weight holds NaN or infinity"):
        read_head(folder, read_folder(folder).spec)


def test_modules_of_a_spec_that_do_not_follow_one_another(folder: Path) -> None:
    values = json.loads(read_folder(folder).spec.to_json())
    with pytest.raises(CorruptModelError, match=r"2_Dense/model\.safetensors gives 8 numbers, the vectors have 9"):
        ModelSpec.from_json(json.dumps(values | {"dim": 9}))
    twice = values["dense"] * 2
    with pytest.raises(CorruptModelError, match=r"takes 32 numbers, 2_Dense/model\.safetensors before it gives 8"):
        ModelSpec.from_json(json.dumps(values | {"dense": twice}))
    with pytest.raises(InputError, match="'dense' is what the weights decide"):
        read_folder(folder, overrides={"dense": []})


def test_an_embedder_of_parts_has_no_place_for_them(folder: Path, tiny_tokenizer: Path) -> None:
    with pytest.raises(InputError, match="has Dense modules, whose weights lie in its folder"):
        Embedder.from_parts(read_folder(folder).spec, TextTokenizer(tiny_tokenizer, 24), FakeBackend(32))
