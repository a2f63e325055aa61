"""The kernel's small files: one word each, which may be missing, unreadable or nonsense."""

from __future__ import annotations

from pathlib import Path

LONGEST = 64  # bytes; what is read here is a number or a name
MOST = 1024  # entries of a folder that are looked at


def word(path: Path) -> str:
    """Return what a file says, at most LONGEST bytes of it; '' where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(LONGEST).decode("ascii", errors="replace").strip()
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """Return the whole number that a file holds; None where it holds none."""
    try:
        return int(word(path))
    except ValueError:
        return None
