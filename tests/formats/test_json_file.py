"""JSON files that hold what they should not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_embed.errors import CorruptModelError
from edge_embed.formats.json_file import read_object
from edge_embed.formats.safetensors import safetensors_header, weight_map
from edge_embed.layouts.folder import read_folder

from support import tiny


def test_an_object_or_its_default(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    assert read_object(path, {"a": 1}) == {"a": 1}
    path.write_text('{"b": 2}')
    assert read_object(path, {"a": 1}) == {"b": 2}
    path.unlink()
    with pytest.raises(CorruptModelError, match=r"config.json is not JSON: .*No such file"):
        read_object(path)


@pytest.mark.parametrize(("text", "kind"), [("[1]", "list"), ('"a"', "str"), ("1", "int"), ("null", "NoneType")])
def test_what_is_no_object_is_named(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CorruptModelError, match=rf"config.json holds a {kind}, not an object; fetch it again"):
        read_object(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("config.json", [], "holds a list, not an object"),
        ("tokenizer_config.json", "right", "holds a str, not an object"),
        ("config_sentence_transformers.json", [], "holds a list, not an object"),
        ("sentence_bert_config.json", 512, "holds a int, not an object"),
        ("modules.json", {}, "is no list of modules, each with a type and a path"),
        ("modules.json", [{"type": "Pooling"}], "is no list of modules, each with a type and a path"),
        ("1_Pooling/config.json", [], "holds a list, not an object"),
    ],
)
def test_each_file_of_a_folder_is_checked(tmp_path: Path, name: str, value: object, message: str) -> None:
    tiny.make("bert", tmp_path)
    (tmp_path / name).write_text(json.dumps(value))
    with pytest.raises(CorruptModelError, match=rf"{name} {message}"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "has no weight_map that names a file for each tensor"),
        ({"weight_map": []}, "has no weight_map that names a file for each tensor"),
        ({"weight_map": {}}, "has no weight_map that names a file for each tensor"),
        ({"weight_map": {"a": 1}}, "has no weight_map that names a file for each tensor"),
        ({"weight_map": {"a": "../b.safetensors"}}, r"names files that do not lie beside it: '../b.safetensors'"),
        ({"weight_map": {"a": "/b.safetensors"}}, r"names files that do not lie beside it: '/b.safetensors'"),
    ],
)
def test_indices_that_cannot_be(tmp_path: Path, values: dict[str, object], message: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(values))
    with pytest.raises(CorruptModelError, match=message):
        weight_map(path)


@pytest.mark.parametrize(
    "entry",
    [
        3,
        {},
        {"dtype": 1, "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 1 << 40]},
        {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]},
    ],
)
def test_a_safetensors_header_lists_tensors_within_the_file(tmp_path: Path, entry: object) -> None:
    path, header = tmp_path / "model.safetensors", json.dumps({"a": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    with pytest.raises(CorruptModelError, match=r"is not a whole safetensors file: 'a' is .*; fetch it again"):
        safetensors_header(path)
