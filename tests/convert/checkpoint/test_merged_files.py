"""Merged tensors are read one by one, when they are asked for; the file that is written of them."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch
from transformers import (
    EuroBertModel,
)

from edge_embed.errors import CorruptModelError, InputError
from edge_embed_convert.checkpoint.adapters import open_adapter
from edge_embed_convert.checkpoint.merge import Merged
from edge_embed_convert.checkpoint.safetensors import write_safetensors
from edge_embed_convert.checkpoint.source import Tensors

from support.lora import (
    MORE,
    SEVEN,
    SHAPES,
    A,
    B,
    Q,
    by_us,
    make,
    ones,
    written,
)
from support.marks import PEFT

pytestmark = PEFT


class Watched(Mapping[str, NDArray[np.float32]]):
    """A base that knows its shapes, counts what is read, and refuses to be read while an earlier tensor is alive."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes, self.read, self._last = shapes, [], lambda: None

    def shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        assert self._last() is None, f"{self.read[-1]} is still held"
        self.read.append(name)
        tensor = np.ones(self.shapes[name], np.float32)
        self._last = weakref.ref(tensor)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def test_nothing_is_read_before_it_is_asked_for_and_nothing_is_kept(tmp_path: Path) -> None:
    base = Watched(SHAPES)
    merged = Merged(base, open_adapter(written(tmp_path)))
    assert f"{Q}.weight" in merged
    assert merged.shape(f"{Q}.weight") == (8, 6)
    assert base.read == []
    write_safetensors(merged, tmp_path / "model.safetensors")
    assert base.read == list(SHAPES)


def test_a_plain_base_is_left_as_it_was(tmp_path: Path) -> None:
    base = ones(SHAPES)
    dict(Merged(base, open_adapter(written(tmp_path))))
    assert all((tensor == 1).all() for tensor in base.values())


def test_memory_is_one_copy_of_the_tensor_beside_the_output(tmp_path: Path) -> None:
    shape = (2048, 1024)
    save_file(ones({f"{Q}.weight": shape}), tmp_path / "model.safetensors")
    parts = {A: (2, 1024), B: (2048, 2), f"{MORE}{Q}.lora_magnitude_vector": (2048,)}
    merged = by_us(tmp_path, written(tmp_path, parts, use_dora=True))
    tracemalloc.start()
    tensor = merged[f"{Q}.weight"]
    peak = tracemalloc.get_traced_memory()[1] / tensor.nbytes
    tracemalloc.stop()
    assert peak < 2.3  # two copies, and one byte an element while it is asked whether all are finite


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_file_loads_elsewhere(dtype: str, tmp_path: Path) -> None:
    base, adapter = make(tmp_path, "eurobert", target_modules=SEVEN)
    merged = by_us(base, adapter)
    (base / "model.safetensors").rename(tmp_path / "model.safetensors")
    merged = Merged(Tensors([tmp_path / "model.safetensors"]), open_adapter(adapter))
    write_safetensors(merged, base / "model.safetensors", dtype)
    loaded = load_torch(base / "model.safetensors")
    assert set(loaded) == set(merged)
    for name, tensor in loaded.items():
        expected = torch.from_numpy(merged[name]).to(getattr(torch, dtype))
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected)
    model, info = EuroBertModel.from_pretrained(base, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert torch.equal(model.state_dict()["norm.weight"], loaded["norm.weight"].float())
    again = Tensors([base / "model.safetensors"])
    assert all(np.array_equal(again[name], loaded[name].float().numpy()) for name in loaded)


def test_odd_shapes_and_names_survive(tmp_path: Path) -> None:
    tensors = {
        "é": np.float32(3).reshape(()),
        "empty": np.zeros((0, 4), np.float32),
        "odd": np.arange(3, dtype=np.float32),
    }
    for dtype in ("float32", "float16"):
        write_safetensors({**tensors, "view": np.eye(3, dtype=np.float32)[:, 1:]}, tmp_path / "x.safetensors", dtype)
        loaded = load_file(tmp_path / "x.safetensors")
        assert loaded["é"].shape == ()
        assert loaded["empty"].shape == (0, 4)
        np.testing.assert_array_equal(loaded["odd"], [0, 1, 2])
        np.testing.assert_array_equal(loaded["view"], np.eye(3)[:, 1:])


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    class Failing(Watched):
        def __getitem__(self, name: str) -> NDArray[np.float32]:
            if name == "b":
                raise CorruptModelError("damaged")
            return super().__getitem__(name)

    path = tmp_path / "model.safetensors"
    path.write_bytes(b"older")
    with pytest.raises(CorruptModelError, match="damaged"):
        write_safetensors(Failing({"a": (2, 2), "b": (2,)}), path)
    with pytest.raises(InputError, match=r"tensor 'a' holds a value that float16 cannot; write bfloat16 or float32"):
        write_safetensors({"a": np.full(2, 1e5, np.float32)}, path, "float16")
    with pytest.raises(InputError, match="cannot write dtype 'int8': choose from 'bfloat16', 'float16', 'float32'"):
        write_safetensors({}, path, "int8")
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert path.read_bytes() == b"older"
    write_safetensors({"a": np.full(2, 1e5, np.float32)}, path, "bfloat16")
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert list(load_torch(path)) == ["a"]


def test_tables_of_positions_are_left_out(tmp_path: Path) -> None:
    """Older releases of transformers saved them in int64 with every BERT."""
    base = {"a.weight": np.ones((2, 2), np.float32), "embeddings.position_ids": np.arange(4)[None]}
    save_file(base, tmp_path / "base.safetensors")
    write_safetensors(Tensors([tmp_path / "base.safetensors"]), tmp_path / "model.safetensors")
    assert [*load_file(tmp_path / "model.safetensors")] == ["a.weight"]
