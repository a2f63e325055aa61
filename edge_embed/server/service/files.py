"""A service's file: written whole or not at all, and never over one that is somebody else's."""

from __future__ import annotations

from pathlib import Path

from edge_embed.errors import InputError
from edge_embed.hub.notes import replace_bytes


def install(path: Path, data: bytes, force: bool) -> bool:
    """Write the file, whether or not it had to be; raises InputError where another is there, or no file can be."""
    old = _read(path)
    if old == data:
        return False
    if (old is not None or path.is_symlink()) and not force:
        raise InputError(f"{path} is there and differs: look at it, then give --force to replace it")
    try:
        replace_bytes(path, data, durable=True)
    except OSError as error:
        raise _cannot("written", path, error) from error
    return True


def uninstall(path: Path, ours: bool, force: bool) -> None:
    """Remove the file; raises InputError where there is none, or one that we did not write."""
    if not ours and not force:
        raise InputError(f"{path} was not written by `edge-embed service install`: --force removes it all the same")
    try:
        path.unlink()
    except OSError as error:
        raise _cannot("removed", path, error) from error


def read(path: Path) -> bytes:
    """Read the file; raises InputError where there is none."""
    data = _read(path)
    if data is None:
        raise InputError(f"{path} does not exist: no service of this kind is installed")
    return data


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _cannot("read", path, error) from error


def _cannot(what: str, path: Path, error: OSError) -> InputError:
    hint = "run it with sudo, or give --user" if isinstance(error, PermissionError) else "--print shows its text"
    return InputError(f"{path} cannot be {what}: {error.strerror or error}; {hint}")
