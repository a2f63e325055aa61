"""A file for the user: whole or absent, what it was of mode and kind, and never over a device."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edge_embed import InputError
from edge_embed.jobs.output import check_output, opened, write

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and devices are otherwise there")


def put(path: Path, data: bytes = b"new") -> None:
    with opened(path) as file:
        file.write(data)


@posix
def test_an_older_files_mode_stays_and_a_new_one_follows_the_umask(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"older")
    old.chmod(0o640)
    before = os.umask(0o027)
    try:
        put(old)
        put(new)
    finally:
        os.umask(before)
    assert (old.read_bytes(), stat.S_IMODE(old.stat().st_mode)) == (b"new", 0o640)
    assert stat.S_IMODE(new.stat().st_mode) == 0o640
    if os.getuid() == 0:
        os.chown(old, 1234, 5678)
        put(old)
        assert (old.stat().st_uid, old.stat().st_gid) == (1234, 5678)


@posix
def test_a_link_is_followed_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link, dangling = tmp_path / "there" / "file", tmp_path / "link", tmp_path / "dangling"
    target.write_bytes(b"older")
    link.symlink_to(target)
    dangling.symlink_to("there/later")
    put(link)
    put(dangling)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert (tmp_path / "there" / "later").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["dangling", "file", "later", "link", "there"]


@posix
def test_devices_and_fifos_are_written_to(tmp_path: Path) -> None:
    null = tmp_path / "null"
    null.symlink_to(os.devnull)
    put(null)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    fifo, got = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    put(fifo)
    reader.join(30)
    assert got == [b"new"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_what_cannot_become_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"it is a folder; name a file in it, such as .*vectors\.npy"):
        check_output(tmp_path)
    with pytest.raises(InputError, match=r"there is no folder .*nowhere; make it first"):
        check_output(tmp_path / "nowhere" / "v.npy")
    with pytest.raises(InputError, match=r"cannot write .*v.npy: Not a directory"):
        check_output(tmp_path / "file" / "v.npy")


@posix
def test_a_full_disk_is_an_error_of_ours_and_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"cannot write /dev/full: No space left on device"):
        put(Path("/dev/full"))
    old = tmp_path / "old"
    old.write_bytes(b"older")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"cannot write .*old: No space left on device"):
        put(old)
    assert old.read_bytes() == b"older"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_no_vectors_are_an_array_with_no_rows(tmp_path: Path) -> None:
    with opened(tmp_path / "v.npy") as file:
        write([], file, "npy", none=np.empty((0, 48), np.uint8))
    found = np.load(tmp_path / "v.npy")
    assert (found.shape, found.dtype) == ((0, 48), np.uint8)


@posix
def test_npy_does_not_go_into_a_pipe() -> None:
    reading, writing = os.pipe()
    with (
        os.fdopen(writing, "wb") as file,
        os.fdopen(reading, "rb"),
        pytest.raises(InputError, match="a pipe has no way back: take raw"),
    ):
        write([np.zeros(2, np.float32)], file, "npy")
