"""A model's files against the hashes that are recorded of them: what a load notices, and what it reads only once."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_embed import BackendError, CorruptModelError, Embedder, ModelError, SelfTestError
from edge_embed.backends import Batch
from edge_embed.backends.onnx.backend import OnnxBackend
from edge_embed.hub import digests
from edge_embed.hub.digests import SHA256, digest_of, identity, remembered_digest
from edge_embed.layouts.folder import read_folder
from edge_embed.loading import integrity
from edge_embed.loading.prepare import discard, prepare
from edge_embed_convert import convert

from support import tiny


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(checkpoint, tmp_path_factory.mktemp("made"), ["onnx:int8"])[0]


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "m"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_EMBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the files that are hashed; none counts as too small for a note, or as changed just now."""
    found: list[str] = []
    sound = digests.digest_of

    def note(path: Path, like: str, stopped: Callable[[], bool] = lambda: False) -> str:
        found.append(path.name)
        return sound(path, like, stopped)

    monkeypatch.setattr(digests, "digest_of", note)
    monkeypatch.setattr(digests, "SMALL", 0)
    monkeypatch.setattr(digests, "TICK", -1)
    return found


def weights_of(folder: Path) -> Path:
    """Return the largest file of a folder."""
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip(path: Path, at: int = -200) -> None:
    """Flip a bit, leaving size and time of writing as they were."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_weights_are_read_once_for_as_long_as_they_stay(folder: Path, cache: Path, read: list[str]) -> None:
    names = {file.path.rpartition("/")[2] for file in read_folder(folder).spec.weights[0].files}
    Embedder(folder).close()
    assert sorted(read) == sorted(names)
    Embedder(folder).close()
    assert sorted(read) == sorted(names)
    shutil.copy(weights_of(folder / "onnx"), folder / "copy")
    os.replace(folder / "copy", weights_of(folder / "onnx"))
    Embedder(folder).close()
    assert len(read) == len(names) + 1


@pytest.mark.parametrize("name", ["edge_embed.json", "tokenizer.json", "config.json"])
def test_descriptions_are_hashed_at_every_load(folder: Path, cache: Path, name: str) -> None:
    Embedder(folder).close()
    (folder / name).write_text((folder / name).read_text() + "\n")
    with pytest.raises(CorruptModelError, match=rf"{name} is damaged, or was changed: it has the hash \w{{64}}, where"):
        Embedder(folder)
    sums = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in sums if not line.endswith(f" {name}\n")))
    Embedder(folder).close()  # as the message says


@pytest.mark.parametrize("opened_before", [False, True])
def test_a_bit_of_the_weights(folder: Path, cache: Path, opened_before: bool) -> None:
    """Of equal size and time of writing, in a place that no golden text shows."""
    if opened_before:
        Embedder(folder).close()
    flip(weights_of(folder / "onnx"))
    for _ in range(2):
        with pytest.raises(CorruptModelError, match=r"onnx_?\w* is damaged.*; copy or convert the folder again$"):
            Embedder(folder)


def test_the_hash_comes_before_what_the_engine_and_the_self_test_say(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights_of(folder / "onnx")
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(CorruptModelError, match=r"is damaged, or was changed: it has the hash") as caught:
        Embedder(folder)
    assert isinstance(caught.value.__context__, (CorruptModelError, SelfTestError))
    assert not [thread for thread in threading.enumerate() if "hashes" in thread.name]


def test_an_error_of_the_load_does_not_wait_for_the_hash(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends at once, and the thread with it."""

    def slow(path: Path, cache: Path, like: str, stopped: Callable[[], bool]) -> str:
        while not stopped():
            time.sleep(0.001)
        raise digests.Stopped

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(integrity, "remembered_digest", slow)
    monkeypatch.setattr("edge_embed.loading.load.load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Embedder(folder)
    assert not [thread for thread in threading.enumerate() if "hashes" in thread.name]


def test_nothing_stays_open_when_the_hash_is_wrong(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[OnnxBackend] = []
    load = OnnxBackend.__init__

    def note(self: OnnxBackend, *rest: Any) -> None:
        load(self, *rest)
        opened.append(self)

    monkeypatch.setattr(OnnxBackend, "__init__", note)
    monkeypatch.setattr(integrity, "remembered_digest", lambda *args: "0" * 64)
    with pytest.raises(CorruptModelError):
        Embedder(folder)
    assert opened
    for backend in opened:
        with pytest.raises(BackendError, match="was closed"):
            backend.forward(Batch([np.array([1], np.int32)]))


def test_foreign_folders(folder: Path, cache: Path) -> None:
    """A list of sums that someone else wrote counts if it reads as ours do; another is no reason to refuse a model."""
    (folder / "edge_embed.json").unlink()
    sums = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").write_text(f"# made by hand\n{sums}")
    model = f"{folder}:int8"
    Embedder(model).close()
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    Embedder(model).close()
    (folder / "SHA256SUMS").write_text(sums)
    with pytest.raises(CorruptModelError, match=r"tokenizer\.json is damaged"):
        Embedder(model)


def test_files_of_the_hubs_cache_are_named_by_their_hashes(folder: Path, cache: Path, tmp_path: Path) -> None:
    """As another tool fetches them, which compares sizes alone."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        blob = blobs / digest_of(path, SHA256 if path.suffix != ".json" else "0" * 40)
        path.rename(blob)
        path.symlink_to(blob)
    (folder / "SHA256SUMS").unlink()
    Embedder(folder).close()
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    with pytest.raises(
        CorruptModelError, match=r"tokenizer\.json.*fetch it again: edge-embed rm, then edge-embed pull"
    ):
        Embedder(folder)


def test_a_damaged_list(folder: Path, cache: Path) -> None:
    (folder / "SHA256SUMS").write_bytes(b"\xff\xfe no hash\n")
    with pytest.raises(CorruptModelError, match=r"SHA256SUMS, line 1 is no hash and path"):
        Embedder(folder)


def test_other_weights_of_equal_size_and_time_are_converted_anew(tmp_path: Path, cache: Path) -> None:
    """As reproducible builds make them: every file of a release is as old as the last."""
    source, other = tmp_path / "model", tmp_path / "other"
    tiny.make("bert", source)
    tiny.make("bert", other, initializer_range=0.2)
    stats = (source / "model.safetensors").stat()
    first = prepare(read_folder(source), "onnx:float32", cache)
    shutil.copy(other / "model.safetensors", source / "model.safetensors")
    os.utime(source / "model.safetensors", ns=(stats.st_atime_ns, stats.st_mtime_ns))
    now = (source / "model.safetensors").stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (stats.st_size, stats.st_mtime_ns, stats.st_ino)
    second = prepare(read_folder(source), "onnx:float32", cache)
    assert second.folder != first.folder
    assert second.spec.fingerprint != first.spec.fingerprint


@pytest.mark.parametrize("name", ["weights", "tokenizer.json"])
def test_a_damaged_conversion_is_made_again(
    source: Path, cache: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with Embedder(f"{source}:int8") as model:
        vector = model.encode("a text")
    made = next(cache.glob("converted/*/[!.]*/edge_embed.json")).parent
    spoilt = weights_of(made / "onnx") if name == "weights" else made / name
    flip(spoilt)
    wrong = digest_of(spoilt, SHA256)
    with Embedder(f"{source}:int8") as model:
        assert model.encode("a text").tobytes() == vector.tobytes()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"a conversion in the cache is damaged, and is made again: {spoilt} is damaged, or was changed: it has "
        f"the hash {wrong}, where {digest_of(spoilt, SHA256)} was published"
    ]
    assert not [path for path in made.parent.iterdir() if path.is_dir() and path != made]


def test_what_another_process_has_made_anew_stays(source: Path, cache: Path) -> None:
    made = prepare(read_folder(source), "onnx:float32", cache).folder
    inode = made.stat().st_ino
    discard(made.parent, "it was damaged when this process looked")
    assert made.stat().st_ino == inode


def test_a_damaged_conversion_that_was_named_by_its_path_stays(source: Path, cache: Path) -> None:
    """Nobody knows whether what it was made of is there still."""
    made = prepare(read_folder(source), "onnx:float32", cache).folder
    flip(weights_of(made / "onnx"))
    with pytest.raises(CorruptModelError, match=f"; delete {made.parent}, and it is converted again"):
        Embedder(made)
    assert weights_of(made / "onnx").is_file()


def test_a_damaged_conversion_that_cannot_be_removed(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepare(read_folder(source), "onnx:float32", cache).folder
    flip(weights_of(made / "onnx"))

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ModelError, match=rf"{made.parent} cannot be removed, to be converted again: read-only"):
        Embedder(f"{source}:float32")


def test_a_damaged_checkpoint_is_not_converted(source: Path, cache: Path) -> None:
    digest = digest_of(source / "model.safetensors", SHA256)
    (source / "SHA256SUMS").write_text(f"{digest}  model.safetensors\n")
    flip(source / "model.safetensors")
    with pytest.raises(CorruptModelError, match=r"model\.safetensors is damaged.*; copy or convert the folder again"):
        Embedder(source)
    assert not (cache / "converted").exists()


def test_what_a_note_is_worth(tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_bytes(b"abc")
    first = remembered_digest(path, cache)
    assert first == digest_of(path, SHA256) == remembered_digest(path, cache)
    assert len(read) == 1
    (note,) = (cache / "hashed").iterdir()
    note.write_text(first[:-3])  # a disk that was full
    assert remembered_digest(path, cache) == first
    assert len(read) == 2
    flip(path, 0)
    assert remembered_digest(path, cache) == digest_of(path, SHA256) != first
    shutil.rmtree(cache)
    monkeypatch.setattr(digests, "TICK", 10**18)  # as if every file had been written a moment ago
    remembered_digest(path, cache)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written(tmp_path: Path, read: list[str]) -> None:
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_bytes(b"abc")
    cache.touch()
    assert remembered_digest(path, cache) == remembered_digest(path, cache)
    assert len(read) == 2


def test_a_disk_without_times_of_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In images such as squashfs's another version has the same inodes, sizes and times: some of its bytes count."""
    path = tmp_path / "file"
    path.write_bytes(bytes(100_000))
    whole = path.stat()
    fields = {name: getattr(whole, name) for name in ("st_ino", "st_size", "st_mtime_ns")} | {"st_ctime_ns": 10**9}
    monkeypatch.setattr(Path, "stat", lambda self: type("Stat", (), fields))
    first = identity(path)
    with path.open("r+b") as file:
        file.seek(50_000)
        file.write(b"other")
    assert identity(path) != first


def test_the_key_of_a_conversion_is_what_the_files_hold(source: Path, cache: Path) -> None:
    made = prepare(read_folder(source), "onnx:float32", cache)
    for path in source.iterdir():
        if path.is_file():
            os.utime(path, (1, 1))
    (source / "pytorch_model.bin").write_bytes(b"what nobody converts")
    assert prepare(read_folder(source), "onnx:float32", cache).folder == made.folder
    data = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(data, indent=1))
    assert prepare(read_folder(source), "onnx:float32", cache).folder != made.folder


def test_a_cache_in_the_place_of_a_file(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="set EDGE_EMBED_CACHE"):
        prepare(read_folder(source), "onnx:float32", tmp_path / "file")
