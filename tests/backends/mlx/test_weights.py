"""MLX weights as they are stored: quantisation read from the tensors, and what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edge_embed import CorruptModelError, UnsupportedModelError
from edge_embed.backends import Batch
from edge_embed.backends.mlx.backend import load
from edge_embed.backends.mlx.models import build

from support import tiny
from support.mlx_folders import WEIGHTS, quantise, some_ids, spec_of


def change(folder: Path, **tensors: Any) -> None:
    """Replace tensors of the checkpoint by name, with __ for a dot; None removes one."""
    stored = load_file(folder / "model.safetensors") | {name.replace("__", "."): x for name, x in tensors.items()}
    save_file({name: x for name, x in stored.items() if x is not None}, folder / "model.safetensors")


def configure(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(("bits", "group"), [(4, 32), (8, 64), (6, 32)])
def test_quantisation_is_read_from_the_tensors(folder: Path, tmp_path: Path, bits: int, group: int) -> None:
    """Rows of 48 stay as they are; names with mlx-lm's prefix; nothing in config.json."""
    ids = some_ids(9, 33)
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "config.json").write_text((folder / "config.json").read_text())
    save_file(quantise(folder, bits, group, "model."), plain / "model.safetensors")
    stored, dequantised = (load(place, spec_of(folder), WEIGHTS, 1) for place in (folder, plain))
    for row, other in zip(stored.forward(Batch(ids)), dequantised.forward(Batch(ids)), strict=True):
        np.testing.assert_allclose(row, other, atol=1e-4)
    stored.close()
    dequantised.close()


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda f: change(f, norm__weight=None), CorruptModelError, r"lacks 1 tensors .*'norm\.weight'"),
        (lambda f: change(f, odd=np.ones(3, "f4")), UnsupportedModelError, "1 tensors have no place .*: 'odd'"),
        (lambda f: change(f, norm__weight=np.ones(3, "f4")), CorruptModelError, r"'norm\.weight' has shape \(3,\)"),
        (lambda f: change(f, norm__weight=np.ones(64)), UnsupportedModelError, r"'norm\.weight' is F64; only 'BF16'"),
        (
            lambda f: change(f, norm__weight=np.ones(64, "i4")),
            UnsupportedModelError,
            r"'norm\.weight' is mlx\.core\.int32",
        ),
        (lambda f: configure(f, rope_parameters=None, rope_theta=None), CorruptModelError, "no rope_theta"),
        (lambda f: configure(f, hidden_act="gelu"), UnsupportedModelError, "hidden_act='gelu' is not implemented"),
        (lambda f: configure(f, num_key_value_heads=3), CorruptModelError, "4 heads do not share 3 key heads"),
        (lambda f: configure(f, num_hidden_layers=1), UnsupportedModelError, "no place"),
    ],
)
def test_what_does_not_fit_is_named(
    folder: Path, spoil: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    spoil(folder)
    with pytest.raises(error, match=message):
        load(folder, spec_of(folder), WEIGHTS, 1)


@pytest.mark.parametrize(
    ("tensors", "config", "error", "message"),
    [
        ({"norm__scales": np.ones((1, 1), "f4")}, {}, CorruptModelError, r"'norm\.scales' belongs to no matrix"),
        ({"embed_tokens__biases": None}, {}, UnsupportedModelError, r"no '\.biases' beside it; only MLX's affine mode"),
        ({"embed_tokens__scales": None}, {}, UnsupportedModelError, "1 tensors have no place"),
        (
            {"embed_tokens__weight": np.zeros((83, 7), "u4")},
            {},
            CorruptModelError,
            r"tensor 'embed_tokens\.weight' \(83, 7\) .* is no quantisation of \(83, 64\): bits are 2, 3, 4, 5, 6, 8",
        ),
        (
            {"embed_tokens__scales": np.ones((83, 4), "f4"), "embed_tokens__biases": np.ones((83, 4), "f4")},
            {},
            CorruptModelError,
            r"with scales \(83, 4\) .* groups 32, 64, 128",
        ),
        ({}, {"bits": 8, "group_size": 64}, CorruptModelError, r"with 4 bits in groups of 64, config.json says 8 in"),
        ({}, {"bits": 4, "group_size": 32}, CorruptModelError, "config.json says 4 in groups of 32"),
        ({}, {"bits": 4, "group_size": 64, "mode": "mxfp4"}, UnsupportedModelError, "mode 'mxfp4' is not implemented"),
    ],
)
def test_quantisation_that_contradicts_itself(
    folder: Path, tensors: dict[str, Any], config: dict[str, Any], error: type[Exception], message: str
) -> None:
    quantise(folder, 4, 64)
    change(folder, **tensors)
    configure(folder, quantization=config or None)
    with pytest.raises(error, match=message):
        load(folder, spec_of(folder), WEIGHTS, 1)


def test_config_may_speak_of_single_layers(folder: Path) -> None:
    quantise(folder, 4, 64)
    configure(folder, quantization={"bits": 8, "group_size": 32, "mode": "affine"})
    names = [n.removesuffix(".scales") for n in load_file(folder / "model.safetensors") if n.endswith(".scales")]
    own = {f"model.{name}": {"bits": 4, "group_size": 64} for name in names}
    configure(folder, quantization={"bits": 8, "group_size": 32, **own})
    load(folder, spec_of(folder), WEIGHTS, 1).close()


def test_tables_that_no_vector_depends_on_may_be_whole_numbers(tmp_path: Path) -> None:
    """Older BERT checkpoints store the positions 0, 1, 2, ..."""
    tiny.make("bert", tmp_path)
    change(tmp_path, embeddings__position_ids=np.arange(96)[None])
    load(tmp_path, spec_of(tmp_path), WEIGHTS, 1).close()


def test_a_truncated_file_and_an_unknown_architecture(folder: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"model_type 'gpt2' .*'bert', .*'qwen3'.* are.*gpt2\.py"):
        load(folder, replace(spec_of(folder), architecture="gpt2"), WEIGHTS, 1)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptModelError, match="is not a whole safetensors file"):
        load(folder, spec_of(folder), WEIGHTS, 1)


def test_what_mlx_refuses_to_build_is_an_error_of_ours() -> None:
    """A norm's eps of 0, which a spoilt config.json had."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32, "vocab_size": 9}
    heads = {"num_attention_heads": 2, "rope_theta": 1e4, "rms_norm_eps": 0.0}
    with pytest.raises(UnsupportedModelError, match=r"MLX cannot build this model: .*'eps' must be positive"):
        build("qwen3", {**sizes, **heads})
