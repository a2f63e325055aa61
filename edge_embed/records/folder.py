"""A folder of text files and images: each file is a row."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edge_embed.errors import InputError

from .row import LONGEST, Fault, Reason, Row

IMAGES = {".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
TEXTS = {
    *(".adoc", ".bash", ".c", ".cc", ".cfg", ".conf", ".cpp", ".cs", ".css", ".go", ".h", ".hpp", ".htm", ".html"),
    *(".ini", ".java", ".js", ".kt", ".log", ".lua", ".markdown", ".md", ".org", ".php", ".pl", ".py", ".r", ".rb"),
    *(".rs", ".rst", ".sh", ".sql", ".swift", ".tex", ".text", ".toml", ".ts", ".txt", ".xml", ".yaml", ".yml"),
}
PIECE = 1 << 20


def walk(folder: Path) -> Iterator[str]:
    """Yield the files below a folder by their paths in it, in order; hidden ones and links to folders are left out."""

    def fail(error: OSError) -> None:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error

    for place, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place).relative_to(folder)
        yield from ((here / name).as_posix() for name in sorted(files) if not name.startswith("."))


class FolderFiles:
    """A folder whose files with known suffixes are rows, numbered from 1 in the order of `walk`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self) -> Iterator[str]:
        """Yield the names of the files that are rows."""
        return (name for name in walk(self.path) if Path(name).suffix.lower() in IMAGES | TEXTS)

    def listing(self) -> tuple[int, int, str]:
        """Return how many files there are, their bytes, and a hash of names and sizes; reads none of them."""
        digest, count, total = hashlib.sha256(), 0, 0
        for name in self.files():
            size = self._size(name)
            digest.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
            count, total = count + 1, total + max(0, size)
        return count, total, digest.hexdigest()

    def digest(self, name: str, update: Callable[[bytes], object]) -> int:
        """Feed a file's name and bytes to a hash and return how many there are, of an image 0: it is held apart."""
        update(f"{name}\0{self._size(name)}\0".encode(errors="surrogateescape"))
        count = 0
        try:
            with (self.path / name).open("rb") as file:
                while data := file.read(PIECE):
                    update(data)
                    count += len(data)
        except OSError as error:
            update(f"\0{error.errno}".encode())
        return 0 if Path(name).suffix.lower() in IMAGES else count

    def rows(self, names: Sequence[str], first: int) -> Iterator[Row]:
        """Yield the rows of files, the first of which has the number `first`; texts are read, images only named."""
        for number, name in enumerate(names, first):
            yield self._row(number, name)

    def _row(self, number: int, name: str) -> Row:
        path = self.path / name
        if path.suffix.lower() in IMAGES:
            return Row(number, None, {"image": str(path)}, name)
        if self._size(name) > LONGEST:
            return self._rejected(number, name, "too-long", f"it is longer than {LONGEST:,} bytes")
        try:
            return Row(number, None, path.read_bytes().decode("utf-8-sig"), name)
        except UnicodeDecodeError as error:
            return self._rejected(number, name, "encoding", f"it is not UTF-8 at byte {error.start}")
        except OSError as error:
            return self._rejected(number, name, "unreadable", error.strerror or str(error))

    def _rejected(self, number: int, name: str, reason: Reason, message: str) -> Row:
        return Row(number, None, id=name, fault=Fault(reason, message))

    def _size(self, name: str) -> int:
        try:
            return (self.path / name).stat().st_size
        except OSError:  # a link that leads nowhere
            return -1
