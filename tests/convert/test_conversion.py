"""The converter: what it writes, and that it leaves nothing behind when it refuses."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer

from edge_embed import AcceptedLossWarning, CorruptModelError, Embedder, InputError, ModelError, VerificationError
from edge_embed_convert import conversion as artefacts
from edge_embed_convert import convert
from edge_embed_convert.__main__ import main
from edge_embed_convert.export import Bound
from edge_embed_convert.onnx import export as to_onnx


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def test_the_folder_is_complete(converted: Path) -> None:
    spec = json.loads((converted / "edge_embed.json").read_text())
    assert [weights["level"] for weights in spec["weights"]] == ["float32", "int8"]
    sums = dict(reversed(line.split("  ")) for line in (converted / "SHA256SUMS").read_text().splitlines())
    files = {path.relative_to(converted).as_posix() for path in converted.rglob("*") if path.is_file()}
    assert set(sums) == files - {"SHA256SUMS"}
    assert {
        "README.md",
        "tokenizer.json",
        "modules.json",
        "1_Pooling/config.json",
        "onnx/model_int8.onnx_data",
    } <= files
    for weights in spec["weights"]:
        for file in weights["files"]:
            data = (converted / file["path"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file["size"], file["sha256"] or sums[file["path"]])
    card = (converted / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "| `onnx:int8` | `onnx/model_int8.onnx` | 23.7 |" in card
    assert len(spec["fingerprint"]) == 32


def test_sentence_transformers_loads_what_we_write(converted: Path, source: Path, tmp_path: Path) -> None:
    (folder,) = convert(source, tmp_path / "out", ["onnx:float32"])
    shutil.copy(source / "model.safetensors", folder)
    expected = SentenceTransformer(str(folder), device="cpu").encode(["hello", "abc"])
    with Embedder(f"{folder}:float32") as model:
        np.testing.assert_allclose(model.encode(["hello", "abc"]), expected, atol=1e-5)


def test_only_the_levels_asked_for_are_kept(minilm: Path, tmp_path: Path) -> None:
    (folder,) = convert(minilm, tmp_path, ["onnx:int8"], name="m")
    assert sorted(path.name for path in (folder / "onnx").iterdir()) == ["model_int8.onnx", "model_int8.onnx_data"]
    assert left_in(tmp_path) == ["m"]


def test_converting_twice_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    one, two = (convert(source, tmp_path / out, ["onnx:float32"])[0] for out in ("a", "b"))
    assert (one / "SHA256SUMS").read_text() == (two / "SHA256SUMS").read_text()


def test_an_existing_folder_is_kept_unless_told(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (folder,) = convert(source, out, ["onnx:float32"])
    (folder / "mine").touch()
    with pytest.raises(InputError, match="exists: pass --overwrite"):
        convert(source, out, ["onnx:float32"])
    assert (folder / "mine").exists()
    convert(source, out, ["onnx:float32"], overwrite=True)
    assert not (folder / "mine").exists()
    assert left_in(out) == ["tiny-bert"]


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ([], "name at least one FORMAT:LEVEL to convert to; formats are .*'onnx'"),
        (["onnx:int7"], "cannot convert to 'onnx:int7': levels of onnx are 'all', 'float16', 'float32',"),
        (["int8"], "cannot convert to 'int8': formats are .*'onnx', as in 'onnx:int8'"),
    ],
)
def test_unknown_targets(source: Path, tmp_path: Path, to: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        convert(source, tmp_path / "out", to)
    assert left_in(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "relu"}, "hidden_act='relu' is not implemented; 'gelu' or"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        ({"is_decoder": True}, "is_decoder=True"),
        ({"model_type": "mamba"}, "model_type 'mamba' is not implemented; 'bert'"),
        ({"quantization_config": {"bits": 4}}, "is quantised already"),
        ({"num_hidden_layers": 1}, "tensors have no place in this architecture: 'encoder.layer.1"),
        ({"num_hidden_layers": 3}, r"lack the tensor 'encoder.layer.2.attention.self.query.weight'"),
        ({"intermediate_size": 65}, r"has shape \(64, 32\), config.json calls for \(65, 32\)"),
        ({"num_attention_heads": 5}, "hidden_size=32 is not a multiple of num_attention_heads=5"),
        ({"layer_norm_eps": None}, "config.json lacks 'layer_norm_eps'"),
    ],
)
def test_configs_that_would_change_the_numbers(
    source: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    data = json.loads((source / "config.json").read_text()) | changes
    (source / "config.json").write_text(json.dumps({key: value for key, value in data.items() if value is not None}))
    with pytest.raises(ModelError, match=message):
        convert(source, tmp_path / "out", ["onnx:float32"])
    assert left_in(tmp_path / "out") == []


@pytest.mark.parametrize("keep", [0, 5, 300, -100])
def test_a_cut_off_file(source: Path, tmp_path: Path, keep: int) -> None:
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptModelError, match=r"model.safetensors is not a whole safetensors file"):
        convert(source, tmp_path / "out", ["onnx:float32"])
    assert left_in(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.float32(np.nan), "holds NaN or infinity"), (np.int8(3), "is I8; only 'BF16', 'F16', 'F32', 'F64'")],
)
def test_weights_that_are_not_numbers(source: Path, tmp_path: Path, value: Any, message: str) -> None:
    tensors = load_file(source / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    tensors[name] = np.full_like(tensors[name], value, dtype=value.dtype)
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(ModelError, match=f"'{name}' {message}"):
        convert(source, tmp_path / "out", ["onnx:float32"])
    assert left_in(tmp_path / "out") == []


STRICT = Bound(mean=0.99999999, min=0.9999)  # which no int8 keeps


def test_levels_that_pass_are_published_and_the_others_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(to_onnx.BOUNDS, "int8", STRICT)
    out = tmp_path / "out"
    command = [str(source), "--out", str(out), "--to", "onnx:float32,onnx:int8"]
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.out == f"{out / 'tiny-bert'}\n"
    assert re.search(
        r"error: onnx:int8 was not kept: cosine to float32 is 0\.9\d+ in the mean and 0\.9\d+ at least "
        r"\(bounds 0\.99999999 and 0\.9999\); kept are .*tiny-bert\. --accept-loss \(accept_loss=True\) keeps",
        said.err,
    )
    spec = json.loads((out / "tiny-bert" / "edge_embed.json").read_text())
    assert [weights["level"] for weights in spec["weights"]] == ["float32"]
    assert sorted(path.name for path in (out / "tiny-bert/onnx").iterdir()) == ["model.onnx", "model.onnx_data"]
    assert "int8" not in (out / "tiny-bert/SHA256SUMS").read_text()
    assert left_in(out) == ["tiny-bert"]


def test_when_no_level_passes_nothing_is_kept(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    (folder,) = convert(source, out, ["onnx:float32"])
    before = (folder / "SHA256SUMS").read_text()
    monkeypatch.setitem(to_onnx.BOUNDS, "int8", STRICT)
    with pytest.raises(VerificationError, match=r"onnx:int8 was not kept: .*; nothing was kept\.") as error:
        convert(source, out, ["onnx:int8"], overwrite=True, keep_checkpoint=True)
    assert error.value.kept == []
    assert left_in(out) == ["tiny-bert"]
    assert (folder / "SHA256SUMS").read_text() == before


def test_an_accepted_loss_is_told_in_the_folder_and_at_load(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(to_onnx.BOUNDS, "int8", STRICT)
    (folder,) = convert(source, tmp_path, ["onnx:float32", "onnx:int8"], name="m", accept_loss=True)
    float32, int8 = json.loads((folder / "edge_embed.json").read_text())["weights"]
    assert "accepted" not in float32["fidelity"]
    loss = int8["fidelity"]["accepted"]
    assert 0.9 < loss["min"] <= loss["mean"] < 1
    card = (folder / "README.md").read_text()
    assert f"`onnx:int8` lies below the bound of its level: their cosine to float32 is {loss['mean']:.5f}" in card
    with pytest.warns(AcceptedLossWarning, match=r"m: onnx:int8 lies below the bound .* to float32 is 0\.9") as caught:
        Embedder(f"{folder}:int8").close()
    assert Path(caught[0].filename) == Path(__file__)
    with Embedder(str(folder)) as model:  # unasked, the level that passed is taken
        assert "onnx:float32" in model.explain()


def test_a_command_for_several_tasks_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*args: object, task: str, **options: object) -> list[Path]:
        raise VerificationError("onnx:int8 was not kept", [tmp_path / task])

    from edge_embed_convert import __main__ as command

    monkeypatch.setattr(command, "convert", refused)
    monkeypatch.setattr(command, "_tasks", lambda text, repo: ["a", "b"])
    assert main([str(source), "--out", str(tmp_path), "--to", "onnx:int8", "--task", "all"]) == 1
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'a'}\n{tmp_path / 'b'}\n"
    assert said.err == "error: a: onnx:int8 was not kept\nb: onnx:int8 was not kept\n"


def test_a_batch_dependent_graph_is_not_kept(minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One activation scale for the whole batch, as common int8 exports have, must not pass."""
    from edge_embed_convert.onnx import levels as onnx_levels
    from edge_embed_convert.onnx.builder import Builder

    def per_tensor(b: Builder, x: str) -> tuple[str, str]:
        peak = b.node("Unsqueeze", b.node("ReduceMax", b.node("Abs", x), keepdims=0), b.constant([0], np.int64))
        unit = b.node("Div", x, peak)
        return b.node("QuantizeLinear", unit, b.constant(1 / 127, np.float32), b.constant(128, np.uint8)), peak

    monkeypatch.setattr(onnx_levels, "_quantize_rows", per_tensor)
    monkeypatch.setitem(to_onnx.BOUNDS, "int8", Bound(mean=0.5, min=0.1))
    with pytest.raises(
        VerificationError, match=r"int8 was not kept: a vector changed by .* among others \(bound .*, where"
    ):
        convert(minilm, tmp_path / "out", ["onnx:int8"])


def test_ctrl_c_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artefacts, "judge", interrupted)
    assert main([str(source), "--out", str(tmp_path / "out"), "--to", "onnx:float32"]) == 130
    assert left_in(tmp_path / "out") == []


def test_the_command(source: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "edge_embed_convert",
        str(source),
        "--out",
        "out",
        "--to",
        "onnx:float32",
        "--name",
        "x",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "out/x\n"
    assert "onnx:float32 verified: mean cosine 1.00000, minimum 1.00000" in done.stderr
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (
        1,
        "error: out/x exists: pass --overwrite, or another --out or --name\n",
    )


def test_the_source_names_no_level(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{source}:int8", "--out", str(tmp_path / "out"), "--to", "onnx:int8"]) == 1
    assert "names a level; what to make is said by --to" in capsys.readouterr().err
