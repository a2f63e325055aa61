"""What a repository's weights say of themselves, read from the hub by ranges: enough to plan a model, and to choose.

Every file is made as long as the hub's and gets the bytes of its header; the rest is a hole. Where a file system has no
holes they take the weights' room for as long as they are looked at.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from edge_embed.errors import CorruptModelError, ModelNotFoundError
from edge_embed.formats.gguf import MAGIC, read_header
from edge_embed.formats.onnx import look_beside_weights
from edge_embed.formats.safetensors import LONGEST
from edge_embed.hub.fetch import Entry, Snapshot, busy, patiently
from edge_embed.hub.repository import explained
from edge_embed.layouts.onnx import find_onnx

WEIGHTS = re.compile(r"[^/]+\.(gguf|safetensors)|(onnx/)?[^/]+\.onnx([._]\w+)?|adapters/.*")
SMALL = 8 << 20  # bytes of a graph or a description that is read whole; other JSON is the tokenizer's
FIRST, BLOCK = 1 << 20, 1 << 12  # bytes that are asked for at first: of a GGUF file, and after each weight of a graph
MOST = 64 << 20  # bytes of one file's header; a vocabulary of 256,000 words takes 8 MB
Read = Callable[[int, int], bytes]


@contextmanager
def preview(snapshot: Snapshot, entries: Iterable[Entry]) -> Iterator[Path]:
    """Give a folder in which every file of weights has its size and its header, and nothing more.

    Raises ModelNotFoundError when the hub cannot be asked or ignores ranges, CorruptModelError for a damaged header.
    """
    with tempfile.TemporaryDirectory(prefix="edge_embed.") as scratch:
        folder = replace(snapshot, cache=Path(scratch)).folder
        known = {entry.name: entry for entry in entries if WEIGHTS.fullmatch(entry.name) or _describes(entry.name)}
        for entry in known.values():
            place = folder / entry.name
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as file:
                file.truncate(entry.size or 0)
        for entry in filter(lambda entry: _describes(entry.name), known.values()):
            _copy(snapshot, entry, folder / entry.name)
        graphs = {file.path for weights in find_onnx(folder) for file in weights.files}  # of several names the first
        for name in (name for name in known if name in graphs or name.endswith((".gguf", ".safetensors"))):
            if not name.startswith("adapters/"):
                _copy(snapshot, known[name], folder / name)
        yield folder


def _describes(name: str) -> bool:
    """Whether a file is one of the small ones that say what a model is, or only its size matters."""
    return bool(re.fullmatch(r"([\w-]*Pooling/)?[\w.-]+\.json", name))


def _copy(snapshot: Snapshot, entry: Entry, place: Path) -> None:
    """Put a file's header in its place."""
    if entry.size is None:
        raise ModelNotFoundError(f"{snapshot.repo}: the hub does not say how long {entry.name} is: edge-embed pull it")
    if entry.name == "tokenizer.json":
        return  # its size tells what it takes
    remote = _Remote(snapshot, entry)
    with place.open("r+b") as file:
        if place.suffix == ".gguf":
            _copy_gguf(remote.read, file, place, entry.size)
        elif place.suffix == ".safetensors":
            _copy_safetensors(remote.read, file, entry)
        elif entry.size <= SMALL:
            file.write(remote.read(0, entry.size))
        elif place.suffix == ".onnx":
            with contextlib.suppress(ValueError, IndexError):  # a damaged one: whoever reads it says so
                look_beside_weights(_Window(remote.read, file, entry.size))


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
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        self._snapshot, self._entry = snapshot, entry
        self._url = hf_hub_url(snapshot.repo, entry.name, revision=snapshot.commit)
        self._headers: dict[str, str] = {**build_hf_headers()}

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`."""
        call = lambda: patiently(lambda: self._ask(start, stop), busy)  # noqa: E731
        return explained(call, self._snapshot.repo, self._snapshot.commit)

    def _ask(self, start: int, stop: int) -> bytes:
        from huggingface_hub import constants, get_session
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

        headers = {**self._headers, "Accept-Encoding": "identity", "Range": f"bytes={start}-{stop - 1}"}
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", self._url, headers=headers, timeout=timeout) as response:
            if response.is_error:
                response.read()
            hf_raise_for_status(response)
            whole = response.status_code != 206
            if whole and start:
                raise ModelNotFoundError(
                    f"{self._snapshot.repo}: the hub ignores ranges, so that {self._entry.name} can only be read "
                    f"whole: edge-embed pull {self._snapshot.repo}, then try again"
                )
            data = _first_bytes(response, stop - start)
            if response.history:
                self._url, self._headers = str(response.url), {}
        if len(data) != stop - start:
            raise OSError(f"{self._entry.name}: {len(data)} bytes came instead of {stop - start}")
        return data


def _first_bytes(response: Any, count: int) -> bytes:
    """Read no more than `count` bytes, whatever is sent; the rest is cut off."""
    data = bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) >= count:
            break
    return bytes(data[:count])
