"""A file -> its text, and where each line or page of it begins."""

from __future__ import annotations

import bisect
import importlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from edge_embed.errors import InputError, MissingDependencyError
from edge_embed.remedies.installing import install_extra

from .command import Command
from .html_text import text_of_html
from .store import Unit

MOST_BYTES = 64 << 20  # of a file; a larger one is left out, and listed
MOST_PAGES = 10_000
LOOKED_AT = 8192  # bytes by which a binary file is told
HTML = {".html", ".htm", ".xhtml"}
IMAGES = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


class Unreadable(Exception):
    """Says why a file has no text to be searched."""


@dataclass(frozen=True)
class Extracted:
    """A file's text; `starts` are the letters at which its lines or pages begin."""

    text: str
    unit: Unit | None = None
    starts: Sequence[int] = field(default_factory=list)

    def place(self, letter: int) -> int | None:
        """Return the line or page, from 1, in which a letter stands."""
        return bisect.bisect_right(self.starts, letter) if self.starts else None


def read_bytes(path: bytes, most: int = MOST_BYTES) -> bytes:
    """Read a regular file of at most `most` bytes; raise Unreadable for another, or for one that may not be read."""
    try:
        # Without O_NONBLOCK a FIFO that took the file's name since it was looked at would hold us up for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable("no regular file")
            if status.st_size > most:
                raise Unreadable(f"larger than {most >> 20} MB")
            data = file.read(most + 1)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    if len(data) > most:
        raise Unreadable(f"larger than {most >> 20} MB")
    return data


def extract(path: bytes, data: bytes, commands: Sequence[Command] = ()) -> Extracted:
    """Read a file's text; raise Unreadable for one that has none that we know how to read.

    A command that names the file's suffix comes first; one without suffixes is asked for binary files.
    """
    suffix = PurePath(os.fsdecode(path)).suffix.lower()
    for command in commands:
        if suffix in command.suffixes:
            return lines(_run(command, path))
    if data.startswith(b"%PDF-"):
        return _pdf(data)
    if is_binary(data):
        for command in commands:
            if not command.suffixes:
                return lines(_run(command, path))
        raise Unreadable("binary")
    text = decode(data)
    return Extracted(text_of_html(text)) if suffix in HTML else lines(text)


def is_binary(data: bytes) -> bool:
    """Whether bytes are no text: a NUL among the first ones that no mark of UTF-16 explains."""
    return b"\0" in data[:LOOKED_AT] and data[:2] not in MARKS


def decode(data: bytes) -> str:
    """Read bytes as UTF-8, as their mark says, or else as Windows-1252, which takes any; NUL becomes a blank."""
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("cp1252" if encoding == "utf-8" else encoding, "replace")
    return text.replace("\0", " ")


def lines(text: str) -> Extracted:
    """Note where lines begin."""
    starts, at = [0], text.find("\n")
    while at >= 0:
        starts.append(at + 1)
        at = text.find("\n", at + 1)
    return Extracted(text, "line", starts)


def _run(command: Command, path: bytes) -> str:
    try:
        return decode(command.run(path))
    except InputError as error:
        raise Unreadable(str(error)) from error


def _pdf(data: bytes) -> Extracted:
    """Read the text layer of a PDF, page by page."""
    try:
        pdfium: Any = importlib.import_module("pypdfium2")
    except ModuleNotFoundError as error:
        raise Unreadable(f"PDF, which needs pypdfium2: {install_extra('files')}") from error
    text, starts = [], []
    letters = 0
    try:
        document = pdfium.PdfDocument(data)
        try:
            for number in range(min(len(document), MOST_PAGES)):
                page = document[number].get_textpage().get_text_range(errors="replace")
                page = page.replace("\r\n", "\n").replace("\0", " ").encode("utf-8", "replace").decode() + "\n\n"
                text.append(page)
                starts.append(letters)
                letters += len(page)
        finally:
            document.close()
    except Exception as error:  # pypdfium2 raises PdfiumError, and others for what a damaged file makes of its types
        raise Unreadable(f"PDF that cannot be read: {error}") from error
    if not letters or not "".join(text).strip():
        raise Unreadable("PDF without a text layer")
    return Extracted("".join(text), "page", starts)


def check_splitting() -> None:
    """Raise MissingDependencyError where long texts cannot be split."""
    try:
        importlib.import_module("semantic_text_splitter")
        importlib.import_module("pathspec")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"index needs {error.name}: {install_extra('search')}") from error


def is_image(path: Path) -> bool:
    """Whether a name is an image's."""
    return path.suffix.lower() in IMAGES
