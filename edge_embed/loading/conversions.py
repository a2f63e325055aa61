"""What was converted into the cache: from where, what of it is there, and how to remove it.

A conversion is a folder in a folder of its own, named by what it depends on; beside it lie a lock and a note of where
it came from. What cannot be read any more is listed too: it takes as much room.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from edge_embed.errors import ModelError
from edge_embed.hub.cache import snapshot_of
from edge_embed.spec.model import FILE_NAME, ModelSpec
from edge_embed.spec.names import is_commit

FOLDER, ORIGIN = "converted", "origin.json"


@dataclass(frozen=True)
class Conversion:
    """A conversion: its folder, a local path or `user/repo` that it was made of, a commit, what it holds, its bytes."""

    folder: Path
    source: str
    revision: str | None
    holds: str
    size: int

    def is_of(self, place: str, path: Path | None, revision: str | None) -> bool:
        """Whether it was made of a place, or lies at the path that a place of this disk has."""
        if revision not in (None, self.revision):
            return False
        if path is None:
            return place == self.source
        known = [self.folder, self.folder.parent, Path(self.source)]
        if known[-1].suffix == ".gguf":  # an image tower's file, of the folder's model
            known.append(known[-1].parent)
        return any(os.path.realpath(one) == os.path.realpath(path) for one in known if one.is_absolute())


def place_of(cache: Path, key: str) -> Path:
    """Return the folder in which the conversion of a key lies, with its lock."""
    return cache / FOLDER / key


def note_origin(place: Path, source: Path, adapter: Path | None = None) -> None:
    """Note what a conversion is made of, a model's folder or a file, and the folder of an adapter that is merged in."""
    note = {"from": str(source.absolute())} | ({"adapter": str(adapter.absolute())} if adapter else {})
    (place / ORIGIN).write_text(json.dumps(note), "utf-8")


def conversions(cache: Path) -> list[Conversion]:
    """List the finished conversions in the cache, damaged ones as well."""
    made = (path for path in sorted((cache / FOLDER).glob("*/[!.]*")) if path.is_dir())
    return [_describe(path) for path in made if any(path.iterdir())]


def remove(conversion: Conversion) -> None:
    """Delete a conversion with its lock and its note; raise ModelError where that cannot be done."""
    try:
        shutil.rmtree(conversion.folder.parent)
    except OSError as error:
        raise ModelError(f"{conversion.folder.parent} cannot be removed: {error}") from error


def _describe(folder: Path) -> Conversion:
    source, revision = _origin(folder.parent)
    try:
        spec = ModelSpec.read(folder / FILE_NAME) if (folder / FILE_NAME).exists() else None
        holds = f"converted to {', '.join(one.name for one in spec.weights)}" if spec else "converted, its image part"
    except ModelError:
        spec, holds = None, f"converted, and {FILE_NAME} cannot be read"
    if (adapter := _noted(folder.parent, "adapter")) is not None:
        source, revision = adapter, None
    elif spec is not None:
        source, revision = spec.source or source or spec.name, spec.revision or revision
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Conversion(folder, source or folder.name, revision, holds, size)


def _origin(place: Path) -> tuple[str | None, str | None]:
    """Return what a conversion was made of, as its note says: `user/repo` and a commit, or a path; None without one."""
    noted = _noted(place, "from")
    if noted is None:
        return None, None
    path = Path(noted)
    for folder in (path, *path.parents):
        if folder.parent.name == "snapshots" and is_commit(folder.name):
            return snapshot_of(folder).repo, folder.name
    return str(path), None


def _noted(place: Path, key: str) -> str | None:
    try:
        return str(Path(json.loads((place / ORIGIN).read_text("utf-8"))[key]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
