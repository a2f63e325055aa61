"""Names that come from outside, from a hub's listing, edge_embed.json or an index: which of them may become paths.

Whatever is made of such a name stays in its folder, on every system that the folder may be copied to.
"""

from __future__ import annotations

import re

from edge_embed.errors import CorruptModelError, EdgeEmbedError

from .values import shown

PART, WHOLE = 255, 1024  # bytes; what file systems allow for one part of a path, and more than any model's file needs
FORBIDDEN = '<>:"|?*\\'  # Windows allows none of them in a name; a colon also ends a drive, or begins a hidden stream
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.I)  # Windows opens them, whatever follows
COMMIT = re.compile(r"[0-9a-f]{40}")


def is_commit(text: object) -> bool:
    """Whether a text is a commit's whole hash, 40 hex digits."""
    return isinstance(text, str) and COMMIT.fullmatch(text) is not None


def path_fault(text: object) -> str | None:
    """Say why a text is no path of a file below a folder, with `/` between its parts; None for one that is."""
    if not isinstance(text, str) or not text:
        return "it is empty" if text == "" else "it is no text"
    if len(text.encode("utf-8", "surrogatepass")) > WHOLE:
        return f"it is longer than {WHOLE} bytes"
    return next(filter(None, map(_part_fault, text.split("/"))), None)


def name_fault(text: object) -> str | None:
    """Say why a text cannot name a model, and with it the model's folder; None for one that can."""
    if isinstance(text, str) and "/" in text:
        return "it holds '/'"
    if isinstance(text, str) and text.startswith("."):
        return "it begins with a dot, as hidden folders do"
    return path_fault(text)


def relative_path(text: str, where: object, error: type[EdgeEmbedError] = CorruptModelError) -> str:
    """Return a path of a file below a folder; raise `error`, which begins with `where`, for one that is none."""
    if fault := path_fault(text):
        raise error(f"{where}: {shown(text)} cannot be a path below a folder: {fault}")
    return text


def model_name(text: str, where: object, error: type[EdgeEmbedError] = CorruptModelError) -> str:
    """Return a model's name; raise `error`, which begins with `where`, for one that cannot name a folder."""
    if fault := name_fault(text):
        raise error(f"{where}: {shown(text)} cannot be a model's name, which also names its folder: {fault}")
    return text


def as_model_name(text: str) -> str:
    """Return the nearest text that can name a model, of a folder's or a repository's name: `.my:model` is my-model."""
    kept = "".join(char if char.isprintable() and char not in FORBIDDEN + "/" else "-" for char in text)
    kept = kept.encode("utf-8")[: PART - 60].decode("utf-8", "ignore").lstrip(".").strip(" ").rstrip(". ")
    return kept if name_fault(kept) is None else f"model-{kept}".rstrip("-")


def _part_fault(part: str) -> str | None:
    if part in ("", ".", ".."):
        return f"{part!r} stands between its slashes"
    if len(part.encode("utf-8", "surrogatepass")) > PART:
        return f"a part of it is longer than {PART} bytes"
    if not part.isprintable():
        return "it holds characters that cannot be printed"
    if found := sorted({*part} & {*FORBIDDEN}):
        return f"it holds {found[0]!r}"
    if DEVICE.fullmatch(part) or part.endswith((".", " ")):
        return "Windows has no such file"
    return None
