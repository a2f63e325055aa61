"""The commands about models on this machine, against a hub on the loopback interface."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_embed import Embedder
from edge_embed.cli.main import main
from edge_embed.loading.conversions import note_origin

from support.fake import SPEC
from support.hub_server import CHECKPOINT, GRAPHS, METADATA, HubServer, Shell


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        server.push("user/graphs", GRAPHS)
        server.push("user/graphs", GRAPHS | {"onnx/model_int8.onnx": "older"}, "v1")
        server.push("user/checkpoint", CHECKPOINT)
        yield server


@pytest.fixture
def shell(server: HubServer, tmp_path: Path) -> Shell:
    return Shell(server, tmp_path)


def test_a_model_comes_is_found_is_checked_and_goes(shell: Shell, server: HubServer, tmp_path: Path) -> None:
    assert "is not complete in the cache" in shell("path", "user/graphs", fails=True)
    folder = Path(shell("pull", "user/graphs:int8"))
    assert {path.name for path in folder.iterdir()} == {name.partition("/")[0] for name in METADATA} | {"onnx"}
    server.forget()
    assert shell("path", "hf://user/graphs:int8") == str(folder)
    assert json.loads(shell("path", "user/graphs:int8", "--json"))["folder"] == str(folder)
    assert json.loads(shell("verify", "user/graphs", "--json")) == {"folder": str(folder), "files": 6, "wrong": []}
    assert shell("verify", "user/graphs") == f"6 files in {folder} are as published"
    (listed,) = json.loads(shell("list", "--json"))
    assert (listed["name"], listed["holds"], listed["folder"]) == ("user/graphs", "main", str(folder))
    assert listed["size"] == sum(len(GRAPHS[name]) for name in (*METADATA, "onnx/model_int8.onnx"))
    assert server.asked == []
    assert shell("rm", "user/graphs").startswith("removed 1 downloads and 0 conversions: 0.0 MB")
    assert shell("list").startswith("no models in the caches")
    assert not folder.exists()
    assert "nothing to remove" in shell("rm", "user/graphs", fails=True)


def test_verify_finds_what_a_disk_did(shell: Shell) -> None:
    folder = Path(shell("pull", "user/graphs"))
    (folder / "onnx/model.onnx_data").resolve().write_text("flip" + GRAPHS["onnx/model.onnx_data"][4:])
    (folder / "tokenizer.json").resolve().unlink()
    told = shell("verify", "user/graphs@main", fails=True)
    assert f"2 of 7 files in {folder} are wrong" in told
    assert "onnx/model.onnx_data: hash " in told
    assert "tokenizer.json: links to a file that is gone" in told


def test_one_revision_is_removed_and_the_other_kept(shell: Shell) -> None:
    old, new = Path(shell("pull", "user/graphs:int8@v1")), Path(shell("pull", "user/graphs:int8"))
    assert old != new
    assert "2 downloads" not in shell("rm", "user/graphs@v1")
    assert not old.exists()
    assert shell("verify", "user/graphs") == f"6 files in {new} are as published"


def test_an_interrupted_download_is_removed_too(shell: Shell, server: HubServer, tmp_path: Path) -> None:
    server.faults["model.safetensors"] = ["cut", "403"]
    shell("pull", "user/checkpoint", fails=True)
    assert list(tmp_path.glob("hf/hub/*/blobs/*.incomplete"))
    shell("rm", "user/checkpoint")
    assert not list(tmp_path.glob("hf/hub/*/blobs/*"))


def test_a_level_is_not_removed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", "user/graphs:int8"]) == 1
    assert "a level cannot be removed alone; leave :int8 out" in capsys.readouterr().err


def test_conversions_are_listed_and_removed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_EMBED_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with Embedder(f"{source}:int8") as model:
        model.encode("a")
    assert main(["list", "--json", "--cache-dir", str(tmp_path / "own")]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["holds"]) == (str(source), "converted to onnx:int8")
    assert main(["verify", listed["folder"]]) == 0
    assert "are as published" in capsys.readouterr().out
    assert main(["rm", listed["folder"], "--cache-dir", str(tmp_path / "own")]) == 0
    assert "removed 0 downloads and 1 conversions" in capsys.readouterr().out
    assert not Path(listed["folder"]).exists()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return capsys.readouterr().out


def put(cache: Path, key: str, source: Path, spec: str | None = None) -> Path:
    """Put a conversion into the cache, as `prepare` leaves it; without a spec, an image part."""
    folder = cache / "converted" / key / "m"
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "model.onnx").write_text("graph")
    note_origin(folder.parent, source)
    if spec is not None:
        (folder / "edge_embed.json").write_text(spec)
    return folder


def test_one_damaged_conversion_breaks_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "own"
    good = put(cache, "a" * 16, tmp_path / "good", SPEC.to_json())
    newer = put(cache, "b" * 16, tmp_path / "newer", '{"format": 99}')
    empty = put(cache, "c" * 16, tmp_path / "empty", "")
    listed = json.loads(run(capsys, "list", "--json", "--cache-dir", str(cache)))
    assert [one["folder"] for one in listed] == [str(good), str(newer), str(empty)]
    assert [one["holds"] for one in listed[1:]] == ["converted, and edge_embed.json cannot be read"] * 2
    assert "removed 0 downloads and 1 conversions" in run(capsys, "rm", str(newer), "--cache-dir", str(cache))
    assert "removed 0 downloads and 1 conversions" in run(
        capsys, "rm", str(tmp_path / "empty"), "--cache-dir", str(cache)
    )
    assert [one["folder"] for one in json.loads(run(capsys, "list", "--json", "--cache-dir", str(cache)))] == [
        str(good)
    ]
    (cache / "converted" / ("a" * 16) / "origin.json").write_text("[")
    assert len(json.loads(run(capsys, "list", "--json", "--cache-dir", str(cache)))) == 1


def test_what_was_converted_of_a_folder_goes_with_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Image parts, too; the folder itself stays, and what was converted of the one around it."""
    cache, source = tmp_path / "own", tmp_path / "models" / "m"
    source.mkdir(parents=True)
    put(cache, "a" * 16, source, SPEC.to_json())
    part = put(cache, "b" * 16, source / "mmproj-F16.gguf")
    other = put(cache, "c" * 16, tmp_path / "models" / "other", SPEC.to_json())
    (row,) = [line for line in run(capsys, "list", "--cache-dir", str(cache)).splitlines() if "mmproj" in line]
    assert re.split(" {2,}", row.strip())[1:] == [f"{source}/mmproj-F16.gguf", "converted, its image part", str(part)]
    assert main(["rm", str(tmp_path / "models"), "--cache-dir", str(cache)]) == 1
    monkeypatch.chdir(tmp_path)
    assert "0 downloads and 2 conversions" in run(capsys, "rm", "models/m", "--cache-dir", str(cache))
    assert source.is_dir()
    assert other.is_dir()


def test_image_parts_of_a_repository_go_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = tmp_path / "hub" / "models--user--m" / "snapshots" / ("0" * 40)
    put(tmp_path, "a" * 16, snapshot / "mmproj-F16.gguf")
    assert "user/m  converted, its image part  " in run(capsys, "list", "--cache-dir", str(tmp_path))
    assert main(["rm", f"user/m@{'1' * 40}", "--cache-dir", str(tmp_path)]) == 1
    assert "1 conversions" in run(capsys, "rm", "user/m", "--cache-dir", str(tmp_path))


def test_a_folder_is_compared_with_its_own_sums(
    converted: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(converted, tmp_path / "copy"))
    (copy / "onnx" / "model.onnx").unlink()  # fewer levels than were made
    assert main(["verify", str(copy)]) == 0
    data = bytearray((copy / "onnx" / "model_int8.onnx_data").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "onnx" / "model_int8.onnx_data").write_bytes(data)
    assert main(["verify", str(copy)]) == 1
    assert "onnx/model_int8.onnx_data: SHA-256" in capsys.readouterr().err
    (copy / "SHA256SUMS").write_text(f"{'0' * 64}  ../../etc/passwd\n")
    assert main(["verify", str(copy)]) == 1
    assert "SHA256SUMS, line 1 is no hash and path" in capsys.readouterr().err
    assert main(["verify", str(source)]) == 1
    assert "names no hashes" in capsys.readouterr().err
