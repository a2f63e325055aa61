"""Headers of files on a hub, read by ranges: enough to describe a model, to plan its memory, and to choose.

A file system without holes keeps each stand-in at its full size for as long as it is looked at.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from edge_embed.errors import CorruptModelError, ModelNotFoundError
from edge_embed.formats.gguf import MAGIC, read_header
from edge_embed.formats.onnx import look_beside_weights
from edge_embed.formats.safetensors import LONGEST
from edge_embed.hub.answers import hub_headers, is_transient, raise_for_status, read, retry, streamed
from edge_embed.hub.entries import Entry, Snapshot
from edge_embed.hub.repository import Repository, hub_errors

SMALL = 8 << 20  # bytes of a graph or a description that is read whole
FIRST, BLOCK = 1 << 20, 1 << 12  # bytes that are asked for at first: of a GGUF file, and after each weight of a graph
MOST = 64 << 20  # bytes of one file's header; a vocabulary of 256,000 words takes 8 MB
Read = Callable[[int, int], bytes]


class RemoteHeaders:
    """Stand-ins for a repository's files, made when they are asked for: their size, their header, and a hole.

    They lie in a folder of their own, which `close` removes.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def folder(self) -> Path:
        """The folder of the stand-ins, named as the commit's folder in a cache."""
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="edge_embed.")
        return replace(self._repository.snapshot, cache=Path(self._scratch.name)).folder

    def __call__(self, name: str) -> Path:
        """Return the stand-in of a file.

        Raises ModelNotFoundError when the hub cannot be asked or ignores ranges, CorruptModelError for a damaged
        header.
        """
        place, entry = self.folder / name, self._repository.entries.get(name)
        if entry is None:
            raise CorruptModelError(f"{self._repository.snapshot.repo} lacks {name!r}, which another file of it names")
        if not place.exists():
            try:
                _copy(self._repository.snapshot, entry, place)
            except OSError as error:  # no room, or a size that no file of this disk can have
                raise ModelNotFoundError(
                    f"{self._repository.snapshot.repo}: no stand-in for {name} of {entry.size} bytes can be made in "
                    f"{self.folder}: {error}; set TMPDIR to another disk, or edge-embed pull it"
                ) from error
        return place

    def close(self) -> None:
        """Remove the stand-ins."""
        if self._scratch is not None:
            self._scratch.cleanup()


def _copy(snapshot: Snapshot, entry: Entry, place: Path) -> None:
    """Make a file as long as the hub's, and put the header in its place."""
    if entry.size is None:
        raise ModelNotFoundError(f"{snapshot.repo}: the hub does not say how long {entry.name} is: edge-embed pull it")
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(place.name + ".partial")
    remote = _Remote(snapshot, entry)
    with partial.open("w+b") as file:
        file.truncate(entry.size)
        if place.suffix == ".gguf":
            _copy_gguf(remote.read, file, partial, entry.size)
        elif place.suffix == ".safetensors":
            _copy_safetensors(remote.read, file, entry)
        elif entry.size <= SMALL:
            file.write(remote.read(0, entry.size))
        elif place.suffix == ".onnx":
            with contextlib.suppress(ValueError, IndexError):  # a damaged one: whoever reads it says so
                look_beside_weights(_Window(remote.read, file, entry.size))
    partial.rename(place)


def _copy_gguf(read: Read, file: BinaryIO, place: Path, size: int) -> None:
    """Read twice as much until the header is whole: what is missing reads as zeros, and its end lies beyond them."""
    have, want = 0, FIRST
    while have < min(size, MOST):
        stop = min(size, want)
        file.write(part := read(have, stop))
        file.flush()
        hopeless = have == 0 and not part.startswith(MAGIC)
        have, want = stop, 2 * want
        try:
            if read_header(place).data <= have:
                return
        except CorruptModelError:
            if hopeless or have == size:
                raise
    raise ModelNotFoundError(f"{place.name}: its header does not end within {MOST >> 20} MB: edge-embed pull it")


def _copy_safetensors(read: Read, file: BinaryIO, entry: Entry) -> None:
    size = entry.size or 0
    head = read(0, min(size, 1 << 16))
    stop = 8 + int.from_bytes(head[:8], "little")
    if stop > min(size, LONGEST):
        raise CorruptModelError(f"{entry.name} is no safetensors file: its header is said to have {stop - 8:,} bytes")
    file.write(head + (read(len(head), stop) if stop > len(head) else b""))


class _Window:
    """A graph on the hub, byte by byte: what is looked at is fetched, some more with it, and written to the file."""

    def __init__(self, read: Read, file: BinaryIO, size: int) -> None:
        self._read, self._file, self._size = read, file, size
        self._start, self._data, self._step, self._spent = 0, b"", BLOCK, 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, at: int) -> int:
        if not 0 <= at < self._size:
            raise IndexError(at)
        self.look(at, at + 1)
        return self._data[at - self._start]

    def look(self, start: int, stop: int) -> None:
        """Have the bytes from `start` to `stop` in the file; one after the other, ever more are fetched at once."""
        while start < stop:
            end = self._start + len(self._data)
            if self._start <= start < end:
                start = end
                continue
            self._step = min(2 * self._step, FIRST) if start == end else BLOCK
            self._start, self._data = start, self._read(start, min(self._size, start + self._step))
            self._file.seek(start)
            self._file.write(self._data)
            self._spent += len(self._data)
            if self._spent > MOST:
                raise ModelNotFoundError(f"a graph of more than {MOST >> 20} MB beside its weights: edge-embed pull it")


class _Remote:
    """One file on the hub; after the first answer its storage is asked directly, without the hub's token."""

    def __init__(self, snapshot: Snapshot, entry: Entry) -> None:
        from huggingface_hub import hf_hub_url

        self._snapshot, self._entry = snapshot, entry
        self._url = hf_hub_url(snapshot.repo, entry.name, revision=snapshot.commit)
        self._headers = hub_headers()

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`."""
        with hub_errors(self._snapshot.repo, self._snapshot.commit):
            return retry(self._ask, is_transient)(start, stop)

    def _ask(self, start: int, stop: int) -> bytes:
        from huggingface_hub import constants

        headers = self._headers | {"Accept-Encoding": "identity", "Range": f"bytes={start}-{stop - 1}"}
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with streamed(self._url, headers, timeout) as response:
            raise_for_status(response)
            whole = response.status_code != 206
            if whole and start:
                raise ModelNotFoundError(
                    f"{self._snapshot.repo}: the hub ignores ranges, so that {self._entry.name} can only be read "
                    f"whole: edge-embed pull {self._snapshot.repo}, then try again"
                )
            data = read(response, stop - start)
            here = str(response.url)
            if here != self._url:
                same = urlsplit(here)[:2] == urlsplit(self._url)[:2]
                self._url, self._headers = here, self._headers if same else {}
        if len(data) != stop - start:
            raise OSError(f"{self._entry.name}: {len(data)} bytes came instead of {stop - start}")
        return data
