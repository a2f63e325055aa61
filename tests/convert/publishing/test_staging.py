"""Where conversions are made: nothing half-made is ever seen, and what a run leaves behind goes with the next.

Kills, at random and at every rename, are in tests/faults/test_kill.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from edge_embed_convert import convert
from edge_embed_convert.publishing.staging import LOCK, OLDER, SUFFIX, publish, remove_leftovers, staging


def hidden(folder: Path) -> list[Path]:
    return [*folder.rglob(f".*{SUFFIX}")]


def test_a_living_process_keeps_its_folder(tmp_path: Path) -> None:
    with staging(["onnx"], "first", tmp_path) as stages:
        (stages["onnx"] / "half").touch()
        code = (
            "import sys; from pathlib import Path; from edge_embed_convert.publishing.staging import remove_leftovers\n"
        )
        code += "remove_leftovers(Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        with staging(["onnx"], "second", tmp_path):
            assert (stages["onnx"] / "half").exists()
            assert len(hidden(tmp_path)) == 2
    assert not [*tmp_path.iterdir()]


def test_what_was_taken_away_comes_back(tmp_path: Path) -> None:
    """Killed between the two renames, a run leaves the older folder in its own."""
    older = tmp_path / f".m.x{SUFFIX}" / OLDER
    for name in ("m", "there"):
        (older / name).mkdir(parents=True)
        (older / name / "old").touch()
    (tmp_path / "there").mkdir()
    remove_leftovers(tmp_path)
    assert (tmp_path / "m" / "old").exists()
    assert not [*(tmp_path / "there").iterdir()]
    assert not hidden(tmp_path)


def test_a_folder_that_another_run_takes_away_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound, turns = FileLock.acquire, []

    def late(self: FileLock, *args: object, **named: object) -> object:
        turns.append(self.lock_file)
        if len(turns) == 1:
            remove_leftovers(tmp_path)  # by another process, before this one has its lock
            raise FileNotFoundError(self.lock_file)
        return sound(self, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(FileLock, "acquire", late)
    with staging(["onnx"], "m", tmp_path) as stages:
        assert stages["onnx"].is_dir()
        assert (stages["onnx"].parent / LOCK).exists()
    assert not hidden(tmp_path)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    return {kind: tmp_path / f"m-{kind}" for kind in ("onnx", "gguf")}


def test_every_format_is_put_in_its_place(tmp_path: Path, places: dict[str, Path]) -> None:
    places["gguf"].mkdir()
    (places["gguf"] / "old").touch()
    with staging(["onnx", "gguf", "mlx"], "m", tmp_path) as stages:
        for stage in stages.values():
            (stage / "new").touch()
        publish(stages, places)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        *("m-gguf", "m-gguf/new", "m-onnx", "m-onnx/new")
    ]


def publish_new(out: Path, places: dict[str, Path]) -> None:
    with staging(places, "m", out) as stages:
        for stage in stages.values():
            (stage / "new").touch()
        publish(stages, places)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("turn", range(5))
def test_an_interruption_between_renames_leaves_the_older_models(
    tmp_path: Path,
    places: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    turn: int,
    after: bool,
    error: type[BaseException],
) -> None:
    for place in places.values():
        place.mkdir()
        (place / "old").touch()
    sound, turns = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        turns.append(self)
        now = len(turns) == turn + 1
        if now and not after:
            raise error("between two renames")
        found = sound(self, target)
        if now:
            raise error("between two renames")
        return found

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(error, match="between two renames"):
        publish_new(tmp_path, places)
    monkeypatch.undo()
    held = "new" if turn == 4 and after else "old"  # by then every new model stands in its place
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        *("m-gguf", f"m-gguf/{held}", "m-onnx", f"m-onnx/{held}")
    ]


def test_a_second_interruption_loses_nothing(
    tmp_path: Path, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the older model is put back: the next run does it."""
    places["onnx"].mkdir()
    (places["onnx"] / "old").touch()
    sound = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name in ("onnx", "m-onnx") and self.parent != tmp_path:
            raise KeyboardInterrupt
        return sound(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        publish_new(tmp_path, {"onnx": places["onnx"]})
    monkeypatch.undo()
    assert not places["onnx"].exists()
    remove_leftovers(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["m-onnx", "m-onnx/old"]


def test_windows_is_asked_for_nothing_that_it_cannot_do(
    tmp_path: Path, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder is opened, files are opened for writing, and the lock's file goes once it is closed."""
    monkeypatch.setattr("edge_embed_convert.publishing.staging.WINDOWS", True)
    opened, sound = [], os.open

    def note(path: Path, flags: int, *rest: int, **named: int) -> int:
        if tmp_path in Path(path).parents and Path(path).name != LOCK:
            opened.append((Path(path).name, flags))
        return sound(path, flags, *rest, **named)

    with staging(["onnx"], "m", tmp_path) as stages:
        (stages["onnx"] / "new").write_text("new")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", note)
            publish(stages, {"onnx": places["onnx"]})
    assert opened == [("new", os.O_RDWR)]
    assert not hidden(tmp_path)


def test_a_conversion_leaves_no_hidden_folder(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", ["onnx:float32"])
    assert not hidden(tmp_path)
