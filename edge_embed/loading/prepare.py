"""A checkpoint that no backend can run -> a converted copy in the cache. The one door to `edge_embed_convert`."""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from edge_embed.errors import MissingDependencyError, ModelError
from edge_embed.layouts.folder import Repo, open_repo
from edge_embed.layouts.onnx import find_onnx
from edge_embed.spec.model import FILE_NAME
from edge_embed.spec.weights import Weights

CONVERTER = 3  # raise it when the converter's output changes, so that older copies are not used
logger = logging.getLogger(__name__)


def cache_folder(cache_dir: Path | None = None) -> Path:
    """Where converted models are kept: `cache_dir`, `$EDGE_EMBED_CACHE`, or `edge_embed` in the user's cache."""
    own = cache_dir or os.environ.get("EDGE_EMBED_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "edge_embed"


def prepare(repo: Repo, to: str, cache_dir: Path | None = None, task: str | None = None) -> Repo:
    """Return the converted copy of a checkpoint at `to` ("onnx:int8"), made once and kept.

    `task` names the adapter that is merged in; None for a checkpoint without adapters.

    Safe when several processes ask at once: one converts, the others wait. Raises MissingDependencyError when the
    converter is not installed, ModelError when the cache cannot be written.
    """
    folder = cache_folder(cache_dir) / "converted" / _key(repo, to, task)
    _once(folder, _made, repo.folder, to, lambda: _convert(repo, folder, to, task))
    return open_repo(_made(folder)[0])


def prepare_pictures(mmproj: Path, level: str, cache_dir: Path | None = None) -> tuple[Path, Weights]:
    """Return a folder and the image part in it, made once of llama.cpp's file of a picture tower at a level, and kept.

    Raises as prepare() does, and UnsupportedModelError for a tower that is not implemented.
    """
    stat, path = mmproj.stat(), mmproj.resolve()
    key = hashlib.sha256(repr((str(path), stat.st_size, stat.st_mtime_ns, level, CONVERTER)).encode()).hexdigest()[:16]
    folder = cache_folder(cache_dir) / "converted" / key

    def made(folder: Path) -> list[Path]:
        return [*folder.glob("[!.]*/onnx")]

    def convert() -> None:
        converter = _converter("edge_embed_convert.conversion", f"{mmproj} is a picture tower", folder)
        converter.write_image_part(mmproj, folder, level)

    _once(folder, made, mmproj, f"onnx:{level}", convert)
    place = made(folder)[0].parent
    (weights,) = find_onnx(place)
    return place, weights


def _once(folder: Path, made: Callable[[Path], list[Path]], source: Path, to: str, convert: Callable[[], None]) -> None:
    """Convert into a folder of the cache, unless that was made there or another process is at it."""
    if made(folder):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if not made(folder):
                logger.info("converting %s to %s, once", source, to)
                convert()
    except OSError as error:
        raise ModelError(
            f"{source} cannot be converted into {folder}: {error}; "
            "set EDGE_EMBED_CACHE or cache_dir to a folder that can be written"
        ) from error


def _converter(module: str, what: str, out: Path) -> Any:
    """Import a module of the converter, and remove what processes that were killed left beside a folder."""
    try:
        found = importlib.import_module(module)
        stages = importlib.import_module("edge_embed_convert.publishing.staging")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{what}, to be converted once, and {error.name} is not installed: pip install 'edge-embed[convert]'"
        ) from error
    for other in out.parent.iterdir():  # whatever they were converting
        stages.remove_leftovers(other)
    return found


def _made(folder: Path) -> list[Path]:
    """List the finished conversion in its folder; half-made ones are hidden."""
    return [path.parent for path in folder.glob(f"[!.]*/{FILE_NAME}")]


def _convert(repo: Repo, out: Path, to: str, task: str | None) -> None:
    origin = {"source": repo.spec.source, "revision": repo.spec.revision}
    converter = _converter("edge_embed_convert", f"{repo.folder} holds safetensors", out)
    converter.convert(repo.folder, out, [to], name=repo.spec.name, task=task, spec=origin)


def _key(repo: Repo, to: str, task: str | None) -> str:
    """Name the conversion by what it depends on: the source's files as they are now, the level, the converter."""
    folder = repo.folder.resolve()  # one conversion, whatever the working directory
    patterns = ("[!.]*", "*_Pooling/*", *([f"adapters/{task}/*"] if task else []))
    paths = [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]
    files = sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
    text = repr((str(folder), repo.spec.source, files, to, task, CONVERTER))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
