"""A GGUF file opened with another backend: converted into the cache, once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_embed import Embedder
from edge_embed.cli.main import main
from edge_embed.errors import CorruptModelError, InputError, ModelNotFoundError
from edge_embed.layouts.folder import read_folder
from edge_embed.loading.conversions import conversions
from edge_embed.selection.choice import Constraints
from edge_embed.selection.choose import choose
from edge_embed_convert import convert
from edge_embed_convert.calibrate import read_texts
from edge_embed_convert.gguf.file import write_file
from edge_embed_convert.gguf.quantize import quantize
from edge_embed_convert.variant import open_variant
from edge_embed_convert.verification import verify

from support import tiny
from support.hub_server import HubServer, Shell
from support.places import MINIATURES

TEXTS = ["a cat sits", "the kitten rests", "stock markets, and a longer text about nothing"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a tiny Qwen3 as GGUF alone, at two levels, without a tokenizer.json."""
    folder = tmp_path_factory.mktemp("model") / "tiny-GGUF"
    folder.mkdir()
    tiny.make("qwen3", folder.with_name("tiny"), "mean")
    source = open_variant(folder.with_name("tiny"), None, None, None, {})
    write_file(folder / "tiny-F16.gguf", source, "F16", source.folder / "tokenizer.json")
    quantize(folder / "tiny-F16.gguf", folder / "tiny-Q8_0.gguf", "Q8_0", None)
    return folder


def test_it_is_converted_once(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = made / "tiny-Q8_0.gguf", tmp_path / "cache"
    with Embedder(path, backend="onnx", cache_dir=cache) as model:
        assert "converted from tiny-Q8_0.gguf" in model.explain()
        first = model.encode(TEXTS)
    monkeypatch.setattr("edge_embed.loading.prepare._convert", None)
    with Embedder(path, backend="onnx", cache_dir=cache) as model:
        np.testing.assert_array_equal(model.encode(TEXTS), first)
    with Embedder(path, cache_dir=cache) as model:
        assert "gguf:Q8_0" in model.explain()
        assert (model.encode(TEXTS) * first).sum(axis=1).min() > 0.99
    (conversion,) = conversions(cache)
    assert conversion.is_of(str(path), path, None)
    assert conversion.is_of(str(made), made, None)
    assert main(["rm", str(path), "--cache-dir", str(cache)]) == 0
    assert not conversions(cache)


def test_of_a_folder_the_most_exact_file_is_converted(made: Path, tmp_path: Path) -> None:
    for level, backend in (("int8", "onnx"), ("bfloat16", "mlx")):
        choice = choose(read_folder(made), Constraints(level=level))
        assert (choice.name, choice.backend, choice.why) == (
            f"{backend}:{level}",
            backend,
            "converted from tiny-F16.gguf",
        )
    assert choose(read_folder(made), Constraints(backend="mlx")).name == "mlx:float32"
    assert choose(read_folder(made), Constraints(backend="onnx", memory_limit=1 << 30)).weights.format == "onnx"
    with Embedder(f"{made}:float32", cache_dir=tmp_path) as model, Embedder(made.with_name("tiny")) as exact:
        assert "converted from tiny-F16.gguf" in model.explain()
        assert (model.encode(TEXTS) * exact.encode(TEXTS)).sum(axis=1).min() > 0.99


def test_no_level_of_gguf_is_made_of_another(made: Path) -> None:
    with pytest.raises(InputError, match="has no Q4_K_M for backend 'auto'; it has 'gguf:F16', 'gguf:Q8_0'"):
        choose(read_folder(made), Constraints(level="Q4_K_M"))
    with pytest.raises(InputError, match="has no int8 for backend 'gguf'"):
        choose(read_folder(made), Constraints(level="int8", backend="gguf"))


def test_a_file_beside_a_checkpoint_is_what_was_named(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made.with_name("tiny"), tmp_path / "model")
    shutil.copy(made / "tiny-Q8_0.gguf", tmp_path / "model")
    assert read_folder(tmp_path / "model").checkpoint == "model.safetensors"
    model = read_folder(tmp_path / "model" / "tiny-Q8_0.gguf")
    assert (model.checkpoint, model.original, model.checkpoint_files) == ("tiny-Q8_0.gguf", False, ["tiny-Q8_0.gguf"])
    assert choose(read_folder(tmp_path / "model"), Constraints(level="Q8_0")).ready


def test_the_command(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path), "--to", "onnx:float32"]
    assert main(["convert", str(made / "tiny-Q8_0.gguf"), *out[:-1], "onnx:float32,mlx:float32"]) == 0
    assert main(["convert", f"{made}:Q8_0", *out, "--name", "named"]) == 0
    assert main(["convert", str(made), *out, "--name", "exact"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in ("tiny", "tiny-mlx", "named", "exact")]
    vectors = []
    for name in ("tiny", "named", "exact", "tiny-mlx"):
        with Embedder(tmp_path / name) as model:
            vectors.append(model.encode(TEXTS))
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert 1e-6 < np.abs(vectors[0] - vectors[2]).max() < 0.05
    assert np.abs(vectors[0] - vectors[3]).max() < 2e-6  # measured: 2.0e-7
    assert main(["convert", f"{made}:Q4_K_M", *out]) == 1
    assert "there is no GGUF file of that level to make it of" in capsys.readouterr().err


def test_a_split_file_is_converted_whole(made: Path, tmp_path: Path) -> None:
    names = [f"tiny-F16-{n:05}-of-00002.gguf" for n in (1, 2)]
    for name in names:
        shutil.copy(made / "tiny-F16.gguf", tmp_path / name)
    assert read_folder(tmp_path / names[0]).checkpoint_files == names[::-1]
    with pytest.raises(CorruptModelError, match=r"00002-of-00002.gguf: .* is in another part as well"):
        open_variant(tmp_path / names[0], None, None, None, {})
    (tmp_path / names[1]).unlink()
    with pytest.raises(ModelNotFoundError, match=r"is one part of several, and 'tiny-F16-00002-of-00002.gguf'"):
        open_variant(tmp_path / names[0], None, None, None, {})


def test_of_a_repository_one_file_is_fetched(made: Path, tmp_path: Path) -> None:
    code = """
from edge_embed import Embedder
with Embedder("user/tiny-GGUF:float32", backend="onnx") as model:
    print(model.explain(), model.encode("a text").shape)
"""
    with HubServer() as server:
        server.push("user/tiny-GGUF", {"README.md": "", **{path.name: path.read_bytes() for path in made.iterdir()}})
        shell = Shell(server, tmp_path)
        told = shell.run(code)
        assert "onnx:float32 (converted from tiny-F16.gguf)" in told
        assert "tiny-Q8_0.gguf" not in server.sent
        server.forget()
        assert shell.run(code, HF_HUB_OFFLINE="1") == told
        assert not server.asked


@pytest.mark.skipif(not MINIATURES.is_dir(), reason="the trained miniatures are not here")
@pytest.mark.parametrize(("base", "level"), [("mini-qwen3", "Q4_K_M"), ("mini-eurobert", "Q8_0")])
def test_int8_of_a_trained_model_is_near_what_llama_cpp_computes(
    base: str, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured, mean and least: .9989 .9985 and .9988 .9979; of the other two, Q8_0 and Q4_K_M, .9991 and .9986."""
    monkeypatch.setattr(verify, "probes", lambda max_tokens: ["a", "some words"])
    (made,) = convert(MINIATURES / base, tmp_path, [f"gguf:{level}"], task="retrieval", accept_loss=True)
    (path,) = made.glob(f"*-{level}.gguf")
    texts = read_texts()
    with Embedder(path) as model, Embedder(f"{path}:int8", cache_dir=tmp_path / "cache") as converted:
        cosines = (model.encode(texts) * converted.encode(texts)).sum(axis=1)
    print(f"{base} {level}: mean {cosines.mean():.5f}, least {cosines.min():.5f}")
    assert cosines.mean() > 0.998
    assert cosines.min() > 0.996
