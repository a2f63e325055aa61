"""Where a user's own service listens: a socket that no other user can have made or can open."""

from __future__ import annotations

import os
import stat
from pathlib import Path

NAME = "edge-embed"


def own_socket() -> Path | None:
    """Return the path in $XDG_RUNTIME_DIR; None where there is no such folder that this user alone may enter."""
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.isabs(folder):
        return None
    try:
        found = os.stat(folder)
    except OSError:
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return Path(folder, NAME) if ours else None


def is_there(path: Path) -> bool:
    """Whether a socket of this user's lies there."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid()
