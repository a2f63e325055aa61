"""Small files that several processes write and read: whoever reads one finds the old text whole, or the new."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write a file under another name beside it, then rename it; raises OSError, and leaves no such file then."""
    replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: Path, data: bytes, durable: bool = False) -> None:
    """Do so with bytes; if `durable`, it has happened when this returns, whatever becomes of the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        with partial.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:  # Ctrl-C too
        partial.unlink(missing_ok=True)
        raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
