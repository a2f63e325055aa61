"""GGUF as a source: every architecture comes back, bit for bit at F32, and other levels as gguf dequantises them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

from edge_embed import Embedder
from edge_embed.architectures import architecture, names
from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.formats.gguf import BLOCKS, read_header
from edge_embed.layouts.folder import read_folder
from edge_embed_convert import convert
from edge_embed_convert.checkpoint.source import Source
from edge_embed_convert.gguf import file as gguf_file
from edge_embed_convert.gguf import tensors as restoring
from edge_embed_convert.gguf.file import entries, metadata, names_of, write_file
from edge_embed_convert.gguf.quantize import quantize
from edge_embed_convert.gguf.source import open_gguf, ways_back
from edge_embed_convert.gguf.tensors import dequantised
from edge_embed_convert.variant import open_variant

from support import gguf_files, tiny
from support.corpus import texts as corpus
from support.dense import dense, describe

NAMES = "edge_embed_convert.gguf.names"
# Of which there is no GGUF.
ABSENT = ("eurobert-grouped", "gte", "gte-ntk-untyped", "modernbert-biases", "mpnet")
FITTING = [name for name in tiny.ARCHITECTURES if name not in ABSENT]
# What llama.cpp calls alike.
CAME_FROM = {**dict.fromkeys(("roberta", "xlm-roberta", "camembert", "distilbert"), "bert"), "mistral": "llama"}

Craft = Callable[..., Path]


def opened(name: str, folder: Path, pooling: str = "mean", **changes: Any) -> Source:
    """Make a tiny checkpoint and open it."""
    tiny.make(name, folder, pooling, **changes)
    return open_variant(folder, None, None, None, {})


def approximately(numbers: dict[str, Any]) -> dict[str, Any]:
    return {key: pytest.approx(one, rel=1e-7) if isinstance(one, float) else one for key, one in numbers.items()}


def written(source: Source, folder: Path, level: str = "F32") -> Path:
    """Write a GGUF file into a folder of its own, with its tokenizer.json beside it."""
    folder.mkdir()
    path = folder / f"x-{level}.gguf"
    tokenizer = shutil.copy(source.folder / "tokenizer.json", folder)
    write_file(path, source, level, Path(tokenizer))
    return path


def rewritten(path: Path, name: str, keys: Mapping[str, Any], tensors: Mapping[str, Any]) -> Path:
    """Write a file of keys and tensors; None leaves one out."""
    writer = gguf.GGUFWriter(path, name)
    for key, value in keys.items():
        if value is not None:
            gguf_file._add(writer, key, value)
    for at, tensor in tensors.items():
        if tensor is not None:
            writer.add_tensor(at, np.array(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tensors_of(path: Path) -> dict[str, Any]:
    return {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}


def test_every_architecture_in_gguf_has_a_way_back() -> None:
    assert {names_of(name).NAME for name in names(NAMES)} <= ways_back().keys()


@pytest.mark.parametrize("name", FITTING)
def test_weights_and_numbers_come_back(name: str, tmp_path: Path) -> None:
    """Bit for bit, as a second file shows, with what the GGUF's own architecture makes of them."""
    source = opened(name, tmp_path / "model")
    path = written(source, tmp_path / "gguf")
    back = open_variant(path, None, None, None, {})
    known = source.spec.architecture
    assert back.spec == replace(source.spec, architecture=CAME_FROM.get(known, known))
    first, second = tensors_of(path), tensors_of(written(back, tmp_path / "again"))
    if known == "distilbert":
        assert not second.pop("token_types.weight").any()
    assert first.keys() == second.keys()
    for at, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[at], at)
    if known == back.spec.architecture:
        ours, others = (vars(architecture(known).read(config)) for config in (source.config, back.config))
        left_out = {"max_position_embeddings": 64, **({} if known == "nomic_bert" else {"hidden_act": "gelu"})}
        assert {**ours, **{key: value for key, value in left_out.items() if key in ours}} == approximately(others)
        for at in back.tensors:
            moved = 2**-24 if known == "gemma3_text" else 0  # half of float32's last bit at 1, which its gains are less
            exact = source.tensors[at][: back.tensors.shape(at)[0]]
            np.testing.assert_allclose(back.tensors[at], exact, rtol=0, atol=moved, err_msg=at)


@pytest.mark.parametrize("name", ["nomic-bert", "jina_embeddings_v3"])
def test_queries_keys_and_values_in_one_tensor_come_back(name: str, tmp_path: Path) -> None:
    """As llama.cpp's own converter writes them."""
    source = opened(name, tmp_path / "model")
    path = written(source, tmp_path / "gguf")
    tensors, keys = tensors_of(path), metadata(source, "F32", source.folder / "tokenizer.json")
    for at in [at for at in tensors if ".attn_q." in at]:
        parts = [np.array(tensors.pop(at.replace("attn_q.", f"attn_{part}."))) for part in "qkv"]
        tensors[at.replace("attn_q.", "attn_qkv.")] = np.concatenate(parts)
    kind = names_of(source.spec.architecture).NAME
    joined = rewritten(path, kind, keys, tensors)
    back = open_variant(joined, None, None, None, {})
    assert "layers.1.self_attn.k_proj.weight" in back.tensors
    for at in back.tensors:
        np.testing.assert_array_equal(back.tensors[at], source.tensors[at], at)
    narrow = {**tensors, "blk.1.attn_qkv.weight": tensors["blk.1.attn_qkv.weight"][:64]}
    rewritten(joined, kind, keys, narrow)
    with pytest.raises(CorruptModelError, match=r"'blk.1.attn_qkv.weight' has shape \(64, 32\), the .* \(96, 32\)"):
        open_variant(joined, None, None, None, {})


VECTORS = ("bert-tanh", "llama", "gemma3_text", "modernbert")


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_are_those_of_the_checkpoint(name: str, tmp_path: Path) -> None:
    """Measured: no difference; a config.json beside the file says which GELU it is."""
    source = opened(name, tmp_path / "model", "cls_token")
    path = written(source, tmp_path / "gguf")
    shutil.copy(tmp_path / "model" / "config.json", path.parent)
    texts = [text.encode()[:50].decode(errors="ignore") for text in corpus(20)]
    vectors = []
    for folder in (source.folder, path):
        with Embedder(f"{folder}:float32", cache_dir=tmp_path / "cache") as model:
            vectors.append(model.encode(texts))
    print(f"{name}: {np.abs(vectors[0] - vectors[1]).max():.1e}")
    np.testing.assert_allclose(*vectors, rtol=0, atol=1e-6)


def test_dense_modules_inside_a_file_come_back(tmp_path: Path) -> None:
    """Measured: no difference."""
    source = opened("gemma3_text", tmp_path / "model")
    plain = {"bias": False}
    describe(source.folder, "mean", dense=[dense(32, 48, "identity", **plain), dense(48, 32, "identity", **plain)])
    source = open_variant(source.folder, None, None, None, {})
    path = written(source, tmp_path / "gguf")
    back = open_variant(path, None, None, None, {})
    assert [(one.in_features, one.out_features, one.bias) for one in back.spec.dense] == [
        (32, 48, False),
        (48, 32, False),
    ]
    again = tensors_of(written(back, tmp_path / "again"))
    for name, tensor in tensors_of(path).items():
        np.testing.assert_array_equal(again[name], tensor, name)
    vectors = []
    for folder in (source.folder, path):
        with Embedder(f"{folder}:float32", cache_dir=tmp_path / "cache") as model:
            vectors.append(model.encode(["a cat", "some other words"]))
    print(f"dense: {np.abs(vectors[0] - vectors[1]).max():.1e}")
    np.testing.assert_allclose(*vectors, rtol=0, atol=1e-6)


LEVELS = ("BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_NL", "IQ4_XS", "Q3_K_M", "IQ3_M", "Q2_K", "Q4_0", "Q5_1")
# The error's norm over the tensor's. Measured: .0017, .0054, .018, .036, .072, and .29 for Q2_K.
LOST = {"BF16": 0.002, "Q8_0": 0.006, "Q6_K": 0.02, "Q5_K_M": 0.04, "Q4_K_M": 0.08}


def test_levels_come_back_as_gguf_dequantises_them(tmp_path: Path) -> None:
    wide = {"hidden_size": 256, "head_dim": 64, "intermediate_size": 256, "num_hidden_layers": 1}
    source = opened("qwen3", tmp_path / "model", **wide)
    base = written(source, tmp_path / "gguf", "F16")
    write_file(base.with_name("x-BF16.gguf"), source, "BF16", source.folder / "tokenizer.json")
    for level in LEVELS:
        path = base.with_name(f"x-{level}.gguf")
        if level != "BF16":
            quantize(base, path, level, None)
        back = open_variant(path, None, None, None, {})
        stored = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
        for entry in entries(source):
            tensor, found = stored[entry.name], back.tensors[entry.source]
            np.testing.assert_array_equal(found, gguf.dequantize(tensor.data, tensor.tensor_type), entry.name)
            lost = np.linalg.norm(found - source.tensors[entry.source]) / np.linalg.norm(found)
            assert lost < LOST.get(level, 0.3), (level, entry.name)


def test_what_turns_together_is_put_back_at_any_level(tmp_path: Path) -> None:
    """Rows of Llama's queries and keys, whose order llama.cpp changes; others keep theirs."""
    source = opened("llama", tmp_path / "model")
    base = written(source, tmp_path / "gguf", "F16")
    quantize(base, base.with_name("x-Q8_0.gguf"), "Q8_0", None)
    back = open_variant(base.with_name("x-Q8_0.gguf"), None, None, None, {})
    for name in back.tensors:
        exact = source.tensors[name]
        assert np.abs(back.tensors[name] - exact).max() <= np.abs(exact).max() / 127, name


def test_a_table_is_dequantised_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened("bert", tmp_path / "model")
    header = read_header(written(source, tmp_path / "gguf", "F16"))
    whole = dequantised(header, "token_embd.weight")
    monkeypatch.setattr(restoring, "AT_ONCE", 100)  # of rows of 32
    np.testing.assert_array_equal(dequantised(header, "token_embd.weight"), whole)


@pytest.fixture(scope="module")
def crafted(tmp_path_factory: pytest.TempPathFactory) -> Craft:
    """Return what writes a file of a tiny Qwen3 with some keys and tensors changed; None leaves one out."""
    folder = tmp_path_factory.mktemp("crafted")
    source = opened("qwen3", folder / "model")
    keys = metadata(source, "F32", source.folder / "tokenizer.json")
    tensors = tensors_of(written(source, folder / "gguf"))

    def craft(path: Path, changed: Mapping[str, Any], others: Mapping[str, Any], name: str = "qwen3") -> Path:
        shutil.copy(source.folder / "tokenizer.json", path.parent)
        return rewritten(path, name, {**keys, **changed}, {**tensors, **others})

    return craft


ROW = np.zeros((32, 32), np.float32)


@pytest.mark.parametrize(
    ("keys", "tensors", "message"),
    [
        ({}, {"blk.1.ffn_up.weight": None}, "lacks the tensor 'blk.1.ffn_up.weight', which its metadata call for"),
        ({}, {"blk.1.ffn_up.weight": ROW}, r"'blk.1.ffn_up.weight' has shape \(32, 32\), the .* call for \(48, 32\)"),
        ({}, {"token_embd.weight": None}, "'token_embd.weight' is None, a table of rows was expected"),
        ({}, {"token_embd.weight": np.zeros(32, np.float32)}, "'token_embd.weight' is .32,., a table of rows was exp"),
        ({"qwen3.block_count": 3}, {}, "lacks the tensor 'blk.2.attn_norm.weight', which its metadata call for"),
        ({"qwen3.block_count": 1 << 30}, {}, "qwen3.block_count=1073741824 should be at most 512"),
        ({"qwen3.embedding_length": 64}, {}, r"has shape \(83, 32\), the file's metadata call for \(83, 64\)"),
        ({"qwen3.feed_forward_length": None}, {}, "qwen3.feed_forward_length=None is not a whole number"),
        ({"qwen3.feed_forward_length": "many"}, {}, "qwen3.feed_forward_length='many' is not a whole number"),
        ({"qwen3.attention.layer_norm_rms_epsilon": None}, {}, "layer_norm_rms_epsilon=None is not a number"),
        ({"qwen3.attention.head_count_kv": 3}, {}, "head_count_kv=3 should be a divisor of 4"),
        ({"qwen3.rope.freq_base": 0.0}, {}, "qwen3.rope.freq_base=0.0 should be above 0"),
    ],
)
def test_files_that_contradict_themselves(
    keys: dict[str, Any], tensors: dict[str, Any], message: str, tmp_path: Path, crafted: Craft
) -> None:
    path = crafted(tmp_path / "x-F32.gguf", keys, tensors)
    with pytest.raises(CorruptModelError, match=message):
        open_variant(path, None, None, None, {})


@pytest.mark.parametrize(
    ("keys", "tensors", "message"),
    [
        ({}, {"blk.0.attn_q.bias": ROW[0]}, "1 tensors have no place in this architecture: 'blk.0.attn_q.bias'"),
        ({}, {"rope_freqs.weight": ROW[0]}, "1 tensors have no place in this architecture: 'rope_freqs.weight'"),
        (
            {"qwen3.attention.scale": 0.5},
            {},
            "qwen3.attention.scale=0.5 may change the vectors, and is not implemented",
        ),
        ({"qwen3.rope.dimension_count": 4}, {}, "dimension_count"),
        (
            {"qwen3.rope.scaling.type": "yarn", "qwen3.rope.scaling.factor": 4.0},
            {},
            "rope_type='yarn' is not implement",
        ),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(
    keys: dict[str, Any], tensors: dict[str, Any], message: str, tmp_path: Path, crafted: Craft
) -> None:
    path = crafted(tmp_path / "x-F32.gguf", keys, tensors)
    with pytest.raises((UnsupportedModelError, CorruptModelError), match=message):
        open_variant(path, None, None, None, {})


def test_an_architecture_without_a_way_back_is_refused(tmp_path: Path, crafted: Craft) -> None:
    moved = {f"falcon.{key}": 64 for key in ("context_length", "embedding_length", "block_count")}
    moved |= {"falcon.attention.head_count": 4, "falcon.pooling_type": 1, gguf_file.SPEC_KEY: None}
    path = crafted(tmp_path / "x-F32.gguf", moved, {}, "falcon")
    with pytest.raises(
        UnsupportedModelError, match=r"is 'falcon', from which there is no way back to a checkpoint; ther"
    ):
        open_variant(path, None, None, None, {})


@pytest.mark.parametrize(
    "keys",
    [
        {"qwen3.expert_count": 0, "qwen3.rope.scaling.factor": 1.0, "qwen3.rope.scaling.finetuned": False},
        {f"qwen3.{key}": None for key in ("rope.scaling.type", "rope.dimension_count", "attention.causal")},
    ],
)
def test_what_files_of_others_say_more_or_less(keys: dict[str, Any], tmp_path: Path, crafted: Craft) -> None:
    back = open_variant(crafted(tmp_path / "x-F32.gguf", keys, {"output.weight": ROW}), None, None, None, {})
    assert architecture("qwen3").read(back.config).rope_theta == 5000


def test_a_weight_that_is_no_number_is_named(tmp_path: Path, crafted: Craft) -> None:
    bad = np.full((48, 32), np.nan, np.float32)
    back = open_variant(crafted(tmp_path / "x-F32.gguf", {}, {"blk.1.ffn_up.weight": bad}), None, None, None, {})
    with pytest.raises(CorruptModelError, match=r"tensor 'blk.1.ffn_up.weight' holds NaN or infinity"):
        _ = back.tensors["layers.1.mlp.up_proj.weight"]


def test_every_type_of_weights_can_be_dequantised() -> None:
    """All but two that llama.cpp computes with and keeps in no file (Q8_1, Q8_K), whole numbers, and the newest."""
    assert {kind for kind in BLOCKS if not restoring.readable(kind)} == {9, 15, 24, 25, 26, 27, 28, 41}


def test_a_type_that_nobody_dequantises_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(opened("bert", tmp_path / "model"), tmp_path / "gguf")
    monkeypatch.setattr(restoring, "readable", lambda kind: False)
    with pytest.raises(UnsupportedModelError, match=r"is of type 0, which this release of gguf cannot dequantise"):
        open_variant(path, None, None, None, {})


def test_attention_that_a_file_leaves_open_is_as_described(tmp_path: Path) -> None:
    """llama.cpp's converter says nothing of attention that a model's own code widens: KaLM-embedding's v2, by facts."""
    tiny.make("qwen2-both-sides", tmp_path / "source")
    config = json.loads((tmp_path / "source" / "config.json").read_text())
    (tmp_path / "x-GGUF").mkdir()
    path = tmp_path / "x-GGUF" / "x-F32.gguf"
    gguf_files.write(path, config, load_file(tmp_path / "source" / "model.safetensors"), words=tiny.WORDS)
    assert not any(key.endswith("attention.causal") for key in read_header(path).metadata)
    stated = {"attention": "full", "normalize": True}
    (made,) = convert(path.parent, tmp_path / "out", ["onnx:float32"], spec=stated)
    with Embedder(path, spec=stated) as run, Embedder(path) as causal, Embedder(made) as converted:
        assert (run.spec.attention, causal.spec.attention, converted.spec.attention) == ("full", "causal", "full")
        found, exact = run.encode(["a cat", "the fox"]), converted.encode(["a cat", "the fox"])
        np.testing.assert_allclose(found, exact, atol=1e-5)  # 5e-7 was measured
        assert np.abs(causal.encode(["a cat", "the fox"]) - exact).max() > 0.01


def test_the_part_for_texts_of_a_model_that_reads_images_is_refused(tmp_path: Path, crafted: Craft) -> None:
    path = crafted(tmp_path / "x-F32.gguf", {}, {})
    repo = read_folder(path)
    with pytest.raises(
        UnsupportedModelError, match=r"is the part for texts of a model that reads images: convert from"
    ):
        open_gguf(replace(repo, spec=replace(repo.spec, image=object())), path)
