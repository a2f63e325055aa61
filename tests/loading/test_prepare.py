"""A checkpoint is converted once, whoever asks, however often, and whatever happens meanwhile."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_embed import Embedder, ModelError
from edge_embed.layouts.folder import ModelFolder, read_folder
from edge_embed.loading.prepare import prepare
from edge_embed.loading.request import own_cache
from edge_embed.remedies.installing import install_extra

from support import tiny

# Converts argv[1] into the cache argv[2], and says what happens; argv[3] is run first.
SCRIPT = """
import logging, sys
from pathlib import Path
from edge_embed.loading.prepare import prepare
from edge_embed.layouts.folder import read_folder

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
exec(sys.argv[3])
print("ready", flush=True)
print("at", prepare(read_folder(Path(sys.argv[1])), "onnx:float32", Path(sys.argv[2])).folder)
"""
# Stop in the middle of the conversion until a line comes.
PAUSE = """
from edge_embed_convert import conversion as artefacts
judge = artefacts.judge

def pause(*arguments):
    print("middle", flush=True)
    sys.stdin.readline()
    return judge(*arguments)

artefacts.judge = pause
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    tiny.make("bert", tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def start(checkpoint: Path, cache: Path) -> Iterator[Start]:
    """Return what starts a process that converts the checkpoint, after running some code."""
    started = []

    def begin(before: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", SCRIPT, str(checkpoint), str(cache), before]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert any(line.startswith(word) for line in process.stdout), f"ended before {word!r}"


def convert(checkpoint: Path, cache: Path) -> ModelFolder:
    return prepare(read_folder(checkpoint), "onnx:float32", cache)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.stat().st_ino, path.read_bytes()) for path in files}


def test_a_checkpoint_is_converted_once(checkpoint: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edge_embed")
    source = contents(checkpoint)
    made = convert(checkpoint, cache)
    assert made.levels() == ["onnx:float32"]
    assert made.folder.name == made.spec.name == "model"
    assert cache in made.folder.parents
    first = contents(made.folder)
    assert convert(checkpoint, cache) == made
    assert contents(made.folder) == first
    assert contents(checkpoint) == source
    assert caplog.messages == [f"converting {checkpoint} to onnx:float32, once"]


def test_an_embedder_converts_where_it_is_told(checkpoint: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edge_embed")
    name = f"{checkpoint}:float32"
    with Embedder(name, cache_dir=cache, threads=1) as first, Embedder(name, cache_dir=cache) as second:
        vectors = first.encode(["one text", "another"])
        np.testing.assert_allclose(second.encode(["one text", "another"]), vectors, atol=1e-6)
    assert vectors.shape == (2, 32)
    assert len(caplog.messages) == 1
    assert list(cache.glob("converted/*/model/onnx/model.onnx"))


def test_the_path_may_be_relative(checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = convert(checkpoint, cache)
    monkeypatch.chdir(checkpoint.parent)
    assert convert(Path("model"), cache).folder == made.folder


def test_a_changed_checkpoint_is_converted_again(checkpoint: Path, cache: Path) -> None:
    old = convert(checkpoint, cache)
    (checkpoint / ".hidden").touch()  # what a file manager leaves
    assert convert(checkpoint, cache).folder == old.folder
    tiny.make("bert", checkpoint, initializer_range=0.2)
    new = convert(checkpoint, cache)
    assert new.folder != old.folder
    assert new.spec.fingerprint != old.spec.fingerprint
    (checkpoint / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert convert(checkpoint, cache).spec.pooling == "first"


def test_a_damaged_conversion_is_made_again(checkpoint: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = convert(checkpoint, cache).folder
    (folder / "edge_embed.json").write_text("")
    assert convert(checkpoint, cache).folder == folder
    assert "a conversion in the cache is damaged, and is made again: " in caplog.text
    shutil.rmtree(folder / "onnx")
    assert convert(checkpoint, cache).levels() == ["onnx:float32"]


def test_a_folder_whose_name_begins_with_a_dot_is_converted(checkpoint: Path, cache: Path) -> None:
    hidden = checkpoint.rename(checkpoint.with_name(".model"))
    assert convert(hidden, cache).folder.name == "model"
    assert convert(hidden, cache).levels() == ["onnx:float32"]


def test_two_processes_at_once_convert_once(start: Start) -> None:
    first = start(PAUSE)
    wait_for(first, "middle")
    second = start()
    wait_for(second, "ready")
    with pytest.raises(subprocess.TimeoutExpired):  # it waits
        second.wait(0.5)
    first_lines = first.communicate("go on\n")[0].splitlines()
    second_lines = second.communicate()[0].splitlines()
    assert (first.returncode, second.returncode) == (0, 0)
    assert second_lines == first_lines  # the folder, and no line on converting
    assert [line.partition(" ")[0] for line in second_lines] == ["at"]


def test_a_killed_conversion_leaves_nothing_to_trip_over(start: Start, checkpoint: Path, cache: Path) -> None:
    killed = start(PAUSE)
    wait_for(killed, "middle")
    killed.kill()
    killed.wait()
    assert list(cache.rglob("*.partial"))
    assert not list(cache.rglob("SHA256SUMS"))
    made = convert(checkpoint, cache)
    assert (made.folder / "SHA256SUMS").is_file()
    assert not list(cache.rglob("*.partial"))


@pytest.mark.parametrize("package", ["onnx", "safetensors", "ml_dtypes"])
def test_a_missing_package_names_the_command(package: str, start: Start, cache: Path) -> None:
    process = start(f"sys.modules[{package!r}] = None")
    errors = process.communicate()[1]
    command = install_extra("convert")
    assert process.returncode == 1
    assert f"MissingDependencyError: {cache.parent / 'model'} holds safetensors" in errors
    assert f"{package} is not installed: {command}\n" in errors
    assert not list(cache.rglob("*.partial"))


def test_a_mistake_in_the_converter_is_not_taken_for_a_missing_package(start: Start) -> None:
    """An ImportError that is none of a missing module comes through as it is."""
    process = start("import onnx; del onnx.TensorProto")
    assert "ImportError: cannot import name 'TensorProto' from 'onnx'" in process.communicate()[1].splitlines()[-1]


def test_the_cache_is_where_the_variables_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("EDGE_EMBED_CACHE", "~/own")
    assert own_cache(Path("~/given")) == tmp_path / "given"
    assert own_cache() == tmp_path / "own"
    monkeypatch.setenv("EDGE_EMBED_CACHE", "")
    assert own_cache() == tmp_path / "xdg" / "edge_embed"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert own_cache() == tmp_path / ".cache" / "edge_embed"


def test_a_cache_that_cannot_be_written_is_named(checkpoint: Path, cache: Path) -> None:
    cache.touch()
    message = f"{checkpoint} cannot be converted into {cache}/converted/.*; set EDGE_EMBED_CACHE or cache_dir"
    with pytest.raises(ModelError, match=message):
        convert(checkpoint, cache)


def test_a_lock_that_cannot_be_taken_is_named(checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = convert(checkpoint, cache).folder
    shutil.rmtree(folder)
    (folder.parent / "lock").unlink(missing_ok=True)
    (folder.parent / "lock").mkdir()
    with pytest.raises(ModelError, match=f"{checkpoint} cannot be converted into {folder.parent}: .*lock"):
        convert(checkpoint, cache)
