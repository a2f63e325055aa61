"""GGUF files: what they say, what llama.cpp makes of them, what is refused, and that a broken one is not kept."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from edge_embed import Embedder, ModelSpec
from edge_embed.errors import BackendError, CorruptModelError, InputError, UnsupportedModelError, VerificationError
from edge_embed_convert import convert
from edge_embed_convert.calibrate import calibrate, read_texts
from edge_embed_convert.checkpoint.source import Source
from edge_embed_convert.export import Export
from edge_embed_convert.gguf import export as to_gguf
from edge_embed_convert.gguf import file as gguf_file
from edge_embed_convert.gguf.file import entries, tensor_types, write_file
from edge_embed_convert.gguf.imatrix import importance, write_imatrix
from edge_embed_convert.gguf.quantize import NEED_IMPORTANCE, ftype, quantize
from edge_embed_convert.variant import open_variant
from edge_embed_convert.verification import verify

from support import tiny
from support.corpus import texts as corpus
from support.places import MINIATURES

TASKS = ("retrieval", "text-matching", "classification", "clustering")
UNFIT = ("eurobert-grouped", "gte", "modernbert-biases", "mpnet")  # how the names begin of what llama.cpp lacks
FITTING = [name for name in tiny.ARCHITECTURES if not name.startswith(UNFIT)]


def opened(name: str, folder: Path, pooling: str = "mean", **changes: Any) -> Source:
    """Make a tiny checkpoint and open it."""
    tiny.make(name, folder, pooling, **changes)
    return open_variant(folder, None, None, None, {})


def value(reader: gguf.GGUFReader, key: str) -> Any:
    """Read one key of a file."""
    return reader.fields[key].contents()


@pytest.fixture
def few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a conversion verify little, where the test itself measures more."""
    monkeypatch.setattr(verify, "probes", lambda max_tokens: ["a", "some words"])


@pytest.mark.usefixtures("few_probes")
@pytest.mark.parametrize("name", FITTING)
@pytest.mark.parametrize("pooling", ["mean", "lasttoken", "cls_token"])
def test_f16_is_the_float32_reference(name: str, pooling: str, tmp_path: Path) -> None:
    """Measured: 0.999998 at least."""
    tiny.make(name, tmp_path / name, pooling)
    exact, made = convert(tmp_path / name, tmp_path / "out", ["onnx:float32", "gguf:F16"])
    texts = [text.encode()[:50].decode(errors="ignore") for text in corpus(60)]  # of 64 tokens
    with Embedder(str(exact)) as reference, Embedder(f"{made}:F16") as model:
        cosines = (reference.encode(texts) * model.encode(texts)).sum(axis=1)
    assert cosines.min() >= 0.9999


@pytest.mark.skipif(not MINIATURES.is_dir(), reason="the trained miniatures are not here")
@pytest.mark.usefixtures("few_probes")
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("base", ["mini-qwen3", "mini-eurobert"])
def test_f16_of_trained_models_is_the_float32_reference(base: str, task: str, tmp_path: Path) -> None:
    """Measured: 0.999997 at least."""
    exact, made = convert(MINIATURES / base, tmp_path, ["onnx:float32", "gguf:F16"], task=task)
    texts = read_texts()
    with Embedder(str(exact)) as reference, Embedder(f"{made}:F16") as model:
        cosines = (reference.encode(texts) * model.encode(texts)).sum(axis=1)
    assert cosines.min() >= 0.9999


def test_metadata_says_everything(tmp_path: Path) -> None:
    source = opened("qwen3-wide-heads", tmp_path / "model", "lasttoken")
    source = replace(source, spec=replace(source.spec, license="apache-2.0", source="someone/something"))
    write_file(tmp_path / "x.gguf", source, "F16", source.folder / "tokenizer.json")
    reader = gguf.GGUFReader(tmp_path / "x.gguf")
    expected = {
        "general.architecture": "qwen3",
        "general.name": "model",
        "general.license": "apache-2.0",
        "general.source.repo_url": "https://huggingface.co/someone/something",
        "general.file_type": 1,
        "qwen3.context_length": 64,
        "qwen3.embedding_length": 32,
        "qwen3.block_count": 2,
        "qwen3.feed_forward_length": 48,
        "qwen3.attention.head_count": 4,
        "qwen3.attention.head_count_kv": 1,
        "qwen3.attention.key_length": 24,
        "qwen3.attention.value_length": 24,
        "qwen3.attention.causal": True,
        "qwen3.rope.freq_base": 5000.0,
        "qwen3.rope.scaling.type": "none",
        "qwen3.pooling_type": 3,
        "qwen3.vocab_size": len(tiny.WORDS),
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.seperator_token_id": 3,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.normalizer.lowercase": True,
    }
    assert {key: value(reader, key) for key in expected} == expected
    assert ModelSpec.from_json(value(reader, gguf_file.SPEC_KEY)) == source.spec
    assert not any(tensor.name == "output.weight" for tensor in reader.tensors)  # standard files stay standard


def test_matrices_have_the_level_and_norms_stay_exact(tmp_path: Path) -> None:
    source = opened("bert", tmp_path / "model")
    for level in ("F32", "F16", "BF16"):
        write_file(tmp_path / "x.gguf", source, level, source.folder / "tokenizer.json")
        types = tensor_types(tmp_path / "x.gguf")
        assert types["blk.1.ffn_up.weight"] == types["token_embd.weight"] == level
        assert {types[name] for name in ("blk.1.ffn_up.bias", "token_embd_norm.weight", "position_embd.weight")} == {
            "F32"
        }
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "x.gguf").tensors}
    assert tensors["position_embd.weight"].shape == (64, 32)  # the context, not max_position_embeddings


class Changed(Mapping[str, Any]):
    """A source's tensors with one of them multiplied."""

    def __init__(self, tensors: Mapping[str, Any], name: str, factor: float) -> None:
        self._tensors, self._name, self._factor = tensors, name, np.float32(factor)

    def __getitem__(self, name: str) -> Any:
        return self._tensors[name] * (self._factor if name == self._name else np.float32(1))

    def __iter__(self) -> Any:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


@pytest.mark.parametrize("factor", [1e6, 1e-6], ids=["overflows", "vanishes"])
def test_what_float16_cannot_hold_stays_float32(factor: float, tmp_path: Path) -> None:
    source = opened("qwen3", tmp_path / "model")
    source = replace(source, tensors=Changed(source.tensors, "layers.1.mlp.up_proj.weight", factor))
    kept = write_file(tmp_path / "x.gguf", source, "F16", source.folder / "tokenizer.json")
    types = tensor_types(tmp_path / "x.gguf")
    assert kept == ["blk.1.ffn_up.weight"]
    assert (types["blk.1.ffn_up.weight"], types["blk.0.ffn_up.weight"]) == ("F32", "F16")


def test_every_level_is_one_of_llama_cpp_with_a_bound() -> None:
    assert set(to_gguf.ALL) <= set(to_gguf.LEVELS) == set(to_gguf.BOUNDS)
    assert len({ftype(level) for level in to_gguf.LEVELS}) == len(to_gguf.LEVELS)
    means = [to_gguf.BOUNDS[level].mean for level in ("F32", "F16", "Q8_0", "Q4_K_M", "Q3_K_M", "IQ2_M", "IQ1_S")]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize("level", NEED_IMPORTANCE)
def test_low_levels_need_importance(level: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{level} needs the importance of every input: give calibration texts"):
        quantize(tmp_path / "x.gguf", tmp_path / "y.gguf", level, None)


def test_rows_that_do_not_fit_are_reported(tmp_path: Path) -> None:
    tiny.make("bert", tmp_path / "model")
    lines: list[str] = []
    convert(tmp_path / "model", tmp_path / "out", ["gguf:Q8_0", "gguf:IQ4_XS"], report=lines.append)
    fallbacks = [line for line in lines if "no multiple" in line]
    assert fallbacks[-1] == "gguf:IQ4_XS: 2 x ffn_up: rows of 32 are no multiple of 256, iq4_nl instead of iq4_xs"
    assert all(line.startswith("gguf:IQ4_XS") for line in fallbacks)


def test_llama_cpp_says_why_it_fails(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(BackendError, match=r"llama.cpp could not quantise to Q8_0: .*fail"):
        quantize(tmp_path / "x.gguf", tmp_path / "y.gguf", "Q8_0", None)
    assert not (tmp_path / "y.gguf").exists()


def test_importance_reaches_the_weights(tmp_path: Path) -> None:
    """Inputs that never occur may be as wrong as they like; those that do come out better."""
    source = opened("qwen3", tmp_path / "model", hidden_size=256, head_dim=64)
    write_file(tmp_path / "x-F16.gguf", source, "F16", source.folder / "tokenizer.json")
    name = "blk.0.ffn_up.weight"
    weigh = {entry.name: np.ones(entry.shape[1], np.float32) for entry in entries(source) if entry.moments}
    weigh[name][:128] = 1e-3
    quantize(tmp_path / "x-F16.gguf", tmp_path / "a.gguf", "IQ3_M", None)
    quantize(tmp_path / "x-F16.gguf", tmp_path / "b.gguf", "IQ3_M", weigh)
    exact = source.tensors["layers.0.mlp.up_proj.weight"]
    plain, weighed = (np.abs(_weights(tmp_path / f"{file}.gguf", name) - exact)[:, 128:].mean() for file in "ab")
    assert weighed < plain


def _weights(path: Path, name: str) -> Any:
    tensor = next(tensor for tensor in gguf.GGUFReader(path).tensors if tensor.name == name)
    return gguf.dequantize(tensor.data, tensor.tensor_type)


def test_imatrix_holds_sums_and_counts(tmp_path: Path) -> None:
    source = opened("bert", tmp_path / "model")
    moments = calibrate(source.config, source.tensors, source.spec, source.folder / "tokenizer.json", ["a b", "c"])
    write_imatrix(tmp_path / "x.gguf", importance(entries(source), moments))
    reader = gguf.GGUFReader(tmp_path / "x.gguf")
    assert (value(reader, "general.type"), value(reader, "imatrix.chunk_size")) == ("imatrix", 512)
    assert "general.architecture" not in reader.fields
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    for entry in entries(source):
        if entry.moments is None:
            assert f"{entry.name}.in_sum2" not in tensors
            continue
        seen = moments[entry.moments]
        np.testing.assert_allclose(tensors[f"{entry.name}.in_sum2"][0], seen.square * seen.count, rtol=1e-6)
        assert tensors[f"{entry.name}.counts"].tolist() == [[seen.count]]
    with pytest.raises(CorruptModelError, match=r"calibration saw nothing of 'encoder.layer.0.qkv' and 11 other"):
        importance(entries(source), {})


def test_a_file_whose_vectors_are_wrong_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.make("eurobert", tmp_path / "model", "lasttoken")
    cast = gguf_file._cast
    monkeypatch.setattr(gguf_file, "_cast", lambda tensor, data: cast(np.roll(tensor, 1, axis=0), data))
    with pytest.raises(VerificationError, match="F16 was not kept"):
        convert(tmp_path / "model", tmp_path / "out", ["gguf:F16"])
    assert not any((tmp_path / "out").iterdir())


def test_heads_that_llama_cpp_has_no_place_for_are_refused(tmp_path: Path) -> None:
    tiny.make("eurobert-grouped", tmp_path / "model")
    with pytest.raises(UnsupportedModelError, match=r"4 heads of 16 do not make hidden_size=32, which llama.cpp"):
        convert(tmp_path / "model", tmp_path / "out", ["gguf:F16"])


def test_an_architecture_that_llama_cpp_lacks_is_refused(tmp_path: Path) -> None:
    tiny.make("mpnet", tmp_path / "model")
    with pytest.raises(UnsupportedModelError, match=r"model_type 'mpnet' has no GGUF names; there are 'bert', .*"):
        convert(tmp_path / "model", tmp_path / "out", ["gguf:F16"])


def test_tensors_without_a_place_are_refused(tmp_path: Path) -> None:
    source = opened("qwen3", tmp_path / "model")
    odd = {**source.tensors, "layers.0.self_attn.q_proj.bias": np.zeros(32, np.float32)}
    with pytest.raises(
        UnsupportedModelError, match=r"1 tensors have no place in this architecture: 'layers.0.self_attn.q"
    ):
        write_file(tmp_path / "x.gguf", replace(source, tensors=odd), "F16", source.folder / "tokenizer.json")


def test_names_of_files() -> None:
    assert to_gguf.stem_of("jina-embeddings-v5-text-nano-retrieval") == "v5-nano-retrieval"
    assert to_gguf.stem_of("Qwen3-Embedding-0.6B") == "Qwen3-Embedding-0.6B"


def test_only_what_was_asked_for_is_left(tmp_path: Path) -> None:
    source = opened("bert", tmp_path / "model")
    export = Export(folder=tmp_path / "out", source=source, levels=["Q8_0"])
    export.folder.mkdir()
    (weights,) = to_gguf.write(export)
    assert [file.path for file in weights.files] == ["model-Q8_0.gguf"]
    assert [path.name for path in export.folder.iterdir()] == ["model-Q8_0.gguf"]


def test_llama_quantize_takes_our_importance(tmp_path: Path) -> None:
    """The tool built from the package's own sources gives the very weights that the library gave."""
    tool = os.environ.get("LLAMA_QUANTIZE") or shutil.which("llama-quantize")
    if tool is None:
        pytest.skip("llama-quantize is neither on PATH nor named by LLAMA_QUANTIZE")
    source = opened("qwen3", tmp_path / "model", hidden_size=256, head_dim=64, intermediate_size=256)
    tokenizer = source.folder / "tokenizer.json"
    moments = calibrate(source.config, source.tensors, source.spec, tokenizer, read_texts()[:5])
    export = Export(folder=tmp_path, source=source, levels=["F16", "IQ2_M"], moments=moments)
    to_gguf.write(export)
    command = [tool, "--imatrix", "model.imatrix.gguf", "model-F16.gguf", "other.gguf", "IQ2_M"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    ours, theirs = (
        {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / name).tensors}
        for name in ("model-IQ2_M.gguf", "other.gguf")
    )
    assert ours.keys() == theirs.keys()
    for name, data in ours.items():
        np.testing.assert_array_equal(data, theirs[name], name)
