"""Small files that several processes write and read: whoever reads one finds the old text whole, or the new."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write a file under another name beside it, then rename it; raises OSError, and leaves no such file then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        partial.write_text(text, "utf-8")
        os.replace(partial, path)
    except BaseException:  # Ctrl-C too
        partial.unlink(missing_ok=True)
        raise
