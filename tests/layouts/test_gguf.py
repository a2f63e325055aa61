"""GGUF files of other people: their headers, names, levels and parts, and what is refused."""

from __future__ import annotations

import json
import random
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from edge_embed import CorruptModelError, ModelError, ModelNotFoundError, ModelSpec, UnsupportedModelError
from edge_embed.formats.gguf import Array, read_header
from edge_embed.layouts.folder import read_folder
from edge_embed.layouts.gguf import gguf_files
from edge_embed.spec.dense import Dense
from edge_embed.spec.weights import File

KEYS = {"embedding_length": 64, "context_length": 512, "pooling_type": 3}


def write(
    path: Path,
    changes: dict[str, Any] | None = None,
    own: ModelSpec | None = None,
    dense: str = "",
    kind: str = "qwen3",
) -> Path:
    """Write a GGUF file with the keys that decide an embedding, changed as told (None: left out), and one tensor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, kind)
    writer.add_type("model")
    for key, value in (KEYS | (changes or {})).items():
        if value is not None:
            writer.add_uint32(key if "." in key else f"{kind}.{key}", value)
    writer.add_array("tokenizer.ggml.tokens", [f"token {n}" for n in range(200)])
    writer.add_array("tokenizer.ggml.scores", [0.5] * 200)
    writer.add_array("general.tags", ["embedding", "jina"])
    writer.add_license("apache-2.0")
    if own:
        writer.add_string("edge_embed.spec", own.to_json())
    writer.add_tensor("token_embd.weight", np.ones((200, 64), np.float16))
    if dense:
        writer.add_tensor(dense, np.ones((64, 64), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_header_is_read_as_gguf_py_reads_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf")
    header, theirs = read_header(path), gguf.GGUFReader(path)
    assert header.metadata["general.architecture"] == "qwen3"
    assert header.metadata["general.tags"] == ["embedding", "jina"]
    assert header.metadata["tokenizer.ggml.tokens"] == Array(8, 200)
    assert header.metadata["tokenizer.ggml.scores"] == Array(6, 200)
    assert header.metadata.keys() == {key for key in theirs.fields if not key.startswith("GGUF.")}
    tensor = header.tensors["token_embd.weight"]
    assert (tensor.shape, tensor.type) == ((64, 200), 1)
    assert header.data + tensor.offset == theirs.tensors[0].data_offset


def test_damaged_headers_are_refused_without_harm(tmp_path: Path) -> None:
    """Flip, cut and stretch bytes at random: an error of ours or a header, never a crash or a great allocation."""
    whole = write(tmp_path / "a.gguf").read_bytes()
    head = len(whole) - 200 * 64 * 2
    rng = random.Random(3)
    path, refused = tmp_path / "b.gguf", 0
    for _ in range(1500):
        data = bytearray(whole[: rng.randrange(head)] if rng.random() < 0.3 else whole)
        for _ in range(rng.choice([0, 1, 1, 2, 8])):
            if data:
                at = rng.randrange(min(len(data), head))
                data[at : at + 8] = rng.choice([bytes([rng.randrange(256)]), b"\xff" * 8, struct.pack("<Q", 1 << 62)])
        path.write_bytes(data)
        refused += not readable(path)
    assert refused > 500


def readable(path: Path) -> bool:
    try:
        read_header(path)
    except ModelError as error:
        return str(path) not in str(error)
    return True


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be read"),
        (b"GGML" + bytes(40), "is not a GGUF file: it does not begin with GGUF"),
        (b"<!DOCTYPE html>" + bytes(40), "is not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "is GGUF version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "it is big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "1,152,921,504,606,846,976 elements cannot follow"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 50) + bytes(60), "bytes cannot follow"),
    ],
)
def test_what_is_no_header_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=message):
        read_header(path)


def test_a_cut_file_is_told_from_its_header_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf")
    path.write_bytes(path.read_bytes()[: -200 * 64 * 2])
    with pytest.raises(CorruptModelError, match=r"its last tensor begins at .* it was cut short"):
        read_header(path)


def test_a_file_of_others_says_what_it_is(tmp_path: Path) -> None:
    write(tmp_path / "some-model" / "some-model-Q8_0.gguf")
    repo = read_folder(tmp_path / "some-model")
    assert repo.levels() == ["gguf:Q8_0"]
    spec = repo.spec
    assert (spec.name, spec.architecture, spec.dim, spec.max_tokens) == ("some-model", "qwen3", 64, 512)
    assert (spec.pooling, spec.normalize, spec.attention, spec.license) == ("last", True, "causal", "apache-2.0")
    assert not repo.tokenizer.exists()


def test_official_names_and_facts(tmp_path: Path) -> None:
    folder = tmp_path / "jina-embeddings-v5-text-nano-retrieval-GGUF"
    for level in ("F16", "BF16", "Q8_0", "IQ4_XS"):
        write(folder / f"v5-nano-retrieval-{level}.gguf")
    write(folder / "v5-nano-retrieval.imatrix.gguf")
    write(folder / "mmproj-F16.gguf")
    repo = read_folder(folder)
    assert sorted(repo.levels()) == ["gguf:BF16", "gguf:F16", "gguf:IQ4_XS", "gguf:Q8_0"]
    files = {weights.level: weights.files[0].path for weights in repo.spec.weights}
    assert files["F16"] == "v5-nano-retrieval-F16.gguf"
    assert repo.spec.name == "jina-embeddings-v5-text-nano-retrieval"
    assert repo.spec.prompts == {"query": "Query: {text}", "document": "Document: {text}"}
    assert (repo.spec.task, repo.spec.license) == ("retrieval", "cc-by-nc-4.0")


def test_split_files_and_odd_names() -> None:
    parts = [f"m-Q4_K_M-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert gguf_files(parts) == {"Q4_K_M": parts}
    assert gguf_files(parts[:2]) == {}
    assert gguf_files(["a.f16.gguf", "sub/b-q5_k_s.gguf", "odd.gguf", "mmproj-model-f16.gguf", "README.md"]) == {
        "F16": ["a.f16.gguf"],
        "Q5_K_S": ["sub/b-q5_k_s.gguf"],
        "odd.gguf": ["odd.gguf"],
    }


def test_which_files_of_a_repository_are_fetched(tmp_path: Path) -> None:
    """The file to open last, and the image tower's before the model's."""
    for name in ("m-F16.gguf", "mmproj-F16.gguf", *(f"m-Q4_K_M-0000{n}-of-00002.gguf" for n in (1, 2))):
        write(tmp_path / name)
    model = read_folder(tmp_path)
    wanted = {weights.level: model.files_of(weights) for weights in model.spec.weights}
    parts = ["m-Q4_K_M-00002-of-00002.gguf", "m-Q4_K_M-00001-of-00002.gguf"]
    assert wanted == {"F16": ["mmproj-F16.gguf", "m-F16.gguf"], "Q4_K_M": ["mmproj-F16.gguf", *parts]}


def test_one_file_or_one_part_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "odd.gguf", {"general.file_type": 7})
    assert read_folder(path).levels() == ["gguf:Q8_0"]
    for n in (1, 2):
        write(tmp_path / f"m-Q2_K-0000{n}-of-00002.gguf")
    repo = read_folder(tmp_path / "m-Q2_K-00002-of-00002.gguf")
    assert [file.path for file in repo.spec.weights[0].files] == [f"m-Q2_K-0000{n}-of-00002.gguf" for n in (1, 2)]
    (tmp_path / "m-Q2_K-00001-of-00002.gguf").unlink()
    with pytest.raises(ModelNotFoundError, match=r"'m-Q2_K-00001-of-00002\.gguf' are not beside it"):
        read_folder(tmp_path / "m-Q2_K-00002-of-00002.gguf")
    with pytest.raises(UnsupportedModelError, match=r"neither its name nor general\.file_type=999"):
        read_folder(write(tmp_path / "strange.gguf", {"general.file_type": 999}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling_type": None}, "does not say how to pool"),
        ({"pooling_type": 0}, "does not say how to pool"),
        ({"pooling_type": 4}, "is a reranker"),
        ({"embedding_length": None}, r"lacks 'qwen3\.embedding_length'"),
        ({"context_length": None}, r"lacks 'qwen3\.context_length'"),
    ],
)
def test_files_that_do_not_say_enough(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "m" / "m-F16.gguf", changes)
    for place in (path, path.parent):
        with pytest.raises(ModelError, match=message):
            read_folder(place)


def test_a_file_of_an_unknown_level_closes_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "m"
    odd, good = write(folder / "m-new.gguf", {"general.file_type": 99}), write(folder / "m-Q8_0.gguf")
    for place in (folder, good):
        assert read_folder(place).levels() == ["gguf:Q8_0"]
    assert caplog.messages[0].startswith(f"passed over: {odd}: neither its name nor general.file_type=99 says a level")
    with pytest.raises(UnsupportedModelError, match=r"m-new.gguf: neither its name nor general.file_type=99"):
        read_folder(odd)
    good.unlink()
    with pytest.raises(UnsupportedModelError, match=r"m-new.gguf: neither its name nor general.file_type=99"):
        read_folder(folder)


def test_files_of_odd_names_have_the_levels_that_no_other_name_says(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    for name, number in (("m-Q4_K_M", 15), ("m-UD-Q4_K_XL", 15), ("m-Q6_K_L", 18), ("m-new", 99), ("m", 1)):
        write(folder / f"{name}.gguf", {"general.file_type": number})
    found = {weights.level: weights.files[0].path for weights in read_folder(folder).spec.weights}
    assert found == {"Q4_K_M": "m-Q4_K_M.gguf", "Q6_K": "m-Q6_K_L.gguf", "F16": "m.gguf"}
    (xl,) = read_folder(folder / "m-UD-Q4_K_XL.gguf").spec.weights
    assert (xl.level, xl.files[0].path) == ("Q4_K_M", "m-UD-Q4_K_XL.gguf")


def test_files_in_sub_folders_are_found_if_they_are_of_one_model(tmp_path: Path) -> None:
    folder = tmp_path / "m-GGUF"
    write(folder / "Q8_0" / "m-Q8_0.gguf")
    write(folder / "F16" / "m-F16-00001-of-00002.gguf")
    write(folder / "F16" / "m-F16-00002-of-00002.gguf")
    found = {weights.level: [file.path for file in weights.files] for weights in read_folder(folder).spec.weights}
    assert found == {
        "Q8_0": ["Q8_0/m-Q8_0.gguf"],
        "F16": ["F16/m-F16-00001-of-00002.gguf", "F16/m-F16-00002-of-00002.gguf"],
    }
    write(folder / "other" / "other-Q4_0.gguf")
    with pytest.raises(ModelNotFoundError, match="holds no model"):
        read_folder(folder)


def test_what_is_known_of_a_model_stands_in_and_contradicts(tmp_path: Path) -> None:
    folder = tmp_path / "jina-embeddings-v5-text-small-retrieval-GGUF"
    path = write(folder / "v5-small-retrieval-F16.gguf", {"pooling_type": None})
    assert read_folder(folder).spec.pooling == "last"
    write(path, {"pooling_type": 1})
    with pytest.raises(CorruptModelError, match="says pooling 'mean', and the model is known to use 'last'"):
        read_folder(folder)


def test_files_beside_a_checkpoint_must_agree_with_it(source: Path) -> None:
    write(source / "tiny-F16.gguf", {"embedding_length": 32, "pooling_type": 1})
    assert "gguf:F16" in read_folder(source).levels()
    write(source / "tiny-F16.gguf", {"embedding_length": 32, "pooling_type": 3})
    for place in (source, source / "tiny-F16.gguf"):
        with pytest.raises(CorruptModelError, match="says pooling 'last', the files beside it 'mean'"):
            read_folder(place)
    write(source / "tiny-F16.gguf", {"embedding_length": 64, "pooling_type": 1})
    with pytest.raises(CorruptModelError, match="is 64 wide, the files beside it say 32"):
        read_folder(source)


def test_a_file_of_ours_carries_its_spec(tmp_path: Path) -> None:
    own = ModelSpec(
        name="mine",
        architecture="qwen3",
        dim=64,
        max_tokens=99,
        pooling="last",
        normalize=True,
        prompts={"query": "q: {text}"},
        fingerprint="f" * 32,
    )
    path = write(tmp_path / "x-IQ1_S.gguf", own=own)
    spec = read_folder(path).spec
    assert (spec.name, spec.max_tokens, spec.prompts, spec.fingerprint) == ("mine", 99, own.prompts, "f" * 32)
    (tmp_path / "edge_embed.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(CorruptModelError, match=r"edge_embed\.json"):
        read_folder(path)


def test_dense_modules_are_not_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """llama.cpp computes those in its own files after a pooling of its own; ours lie beside the file."""
    with pytest.raises(
        UnsupportedModelError, match=r"holds the Dense modules 'dense_2\.weight' in a qwen3; 'gemma-emb"
    ):
        read_folder(write(tmp_path / "theirs" / "x-F16.gguf", dense="dense_2.weight"))
    with caplog.at_level("WARNING"):
        for place in ("a", "a", "embeddinggemma-300m-GGUF"):
            theirs = write(tmp_path / place / "x-F16.gguf", kind="gemma-embedding")
            read_folder(theirs)
    assert [record.args for record in caplog.records if "holds no Dense modules" in record.message] == [
        (tmp_path / place / "x-F16.gguf",) for place in ("a", "embeddinggemma-300m-GGUF")
    ]
    module = Dense(file=File(path="2_Dense/model.safetensors"), in_features=64, out_features=8)
    own = ModelSpec(
        name="m", architecture="qwen3", dim=8, max_tokens=9, pooling="last", normalize=True, dense=(module,)
    )
    path = write(tmp_path / "ours" / "x-F16.gguf", own=own)
    with pytest.raises(CorruptModelError, match=r"lacks 2_Dense/model\.safetensors, the weights of a Dense module"):
        read_folder(path)
    (tmp_path / "ours" / "2_Dense").mkdir()
    (tmp_path / "ours" / "2_Dense" / "model.safetensors").touch()
    assert read_folder(path).spec == replace(own, weights=read_folder(path).spec.weights)
