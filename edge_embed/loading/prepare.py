"""A checkpoint that a backend cannot run -> a converted copy in the cache. The one door to `edge_embed_convert`."""

from __future__ import annotations

import hashlib
import importlib
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from edge_embed.errors import CorruptModelError, MissingDependencyError, ModelError, ModelNotFoundError
from edge_embed.formats.gguf import part_names
from edge_embed.hub.checksums import wrong_sums
from edge_embed.hub.digests import remembered_digest
from edge_embed.layouts.folder import ModelFolder, read_folder
from edge_embed.layouts.listing import Listing
from edge_embed.layouts.onnx import find_onnx
from edge_embed.progress import tell
from edge_embed.progress.screen import can_redraw
from edge_embed.remedies.installing import install_extra
from edge_embed.spec.model import FILE_NAME
from edge_embed.spec.weights import Weights

from .conversions import note_origin, place_of
from .integrity import check_files

CONVERTER = 5  # raise it when the converter's output changes, so that older copies are not used
LEFTOVER = ".edge_embed.partial"  # how a folder's name ends that the next conversion removes
NOT_READ = {".bin", ".gguf", ".h5", ".msgpack", ".onnx", ".onnx_data", ".ot", ".pt", ".pth"}  # large, and not converted
# What is read beside a GGUF file, whose folder may hold anything else.
BESIDE = ("*config*.json", "edge_embed.json", "modules.json", "special_tokens_map.json", "tokenizer.json")
CHECKED = {".json", ".safetensors", ".txt"}  # what is read of a model, not of what people are told of it
logger = logging.getLogger(__name__)


def prepare(
    model: ModelFolder,
    to: str,
    cache: Path,
    task: str | None = None,
    spec: Mapping[str, Any] | None = None,
    portable: bool = False,
) -> ModelFolder:
    """Return the converted copy of a checkpoint, or of a GGUF file, at `to` ("onnx:int8"), made once and kept.

    `task` names the adapter that is merged in; None for a checkpoint without adapters, and where the folder has one of
    elsewhere. `spec` holds keys of edge_embed.json that win over what the folder says. `portable`: with a
    graph in standard operators as well.
    Safe when several processes ask at once: one converts, the others wait. Raises MissingDependencyError when the
    converter is not installed, ModelError when the cache cannot be written.
    """
    folder = place_of(cache, _key(model, f"{to}, portable" if portable else to, task, spec or {}, cache))

    def convert() -> None:
        _convert(model, folder, to, task, spec or {}, portable)

    def once() -> ModelFolder:
        _once(folder, _made, (_place(model), model.adapter), to, convert)
        return read_folder(_made(folder)[0])

    try:
        return once()
    except (CorruptModelError, ModelNotFoundError) as error:
        if not _made(folder):  # it is the source that is damaged
            raise
        discard(folder, str(error))
    return once()


def prepare_image_part(mmproj: Path, level: str, cache: Path) -> tuple[Path, Weights]:
    """Convert an mmproj GGUF to our ONNX image part once; return its folder and weights.

    Raises as prepare() does, and UnsupportedModelError for a tower that is not implemented.
    """
    check_files(mmproj.parent, [mmproj.name], cache)
    facts = (str(mmproj.resolve()), remembered_digest(mmproj, cache), level, CONVERTER)
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    folder = place_of(cache, key)

    def made(folder: Path) -> list[Path]:
        return [path.parent for path in folder.glob("[!.]*/onnx") if any(path.glob("*.onnx"))]

    def convert() -> None:
        converter = _converter("edge_embed_convert.conversion", f"{mmproj} is an image tower", folder)
        converter.write_image_part(mmproj, folder, level)

    _once(folder, made, (mmproj, None), f"onnx:{level}", convert)
    place = made(folder)[0]
    check_files(place, [path.relative_to(place).as_posix() for path in place.glob("onnx/*")], cache)
    (weights,) = find_onnx(Listing.of(place))
    return place, weights


def _once(
    folder: Path,
    made: Callable[[Path], list[Path]],
    origin: tuple[Path, Path | None],
    to: str,
    convert: Callable[[], None],
) -> None:
    """Convert an origin, a source and perhaps an adapter, into a folder of the cache, once; other processes wait."""
    if made(folder):
        return
    source = origin[1] or origin[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if not made(folder):
                logger.info("converting %s to %s, once", source, to)
                note_origin(folder, *origin)
                if can_redraw(sys.stderr):  # whoever waits there is told why
                    tell(f"converting {source} to {to}, once ...")
                convert()
    except OSError as error:
        raise ModelError(
            f"{source} cannot be converted into {folder}: {error}; "
            "set EDGE_EMBED_CACHE or cache_dir to a folder that can be written"
        ) from error


def discard(place: Path, fault: str) -> None:
    """Remove what was converted into a folder of our own cache and is damaged, so that it is made again.

    What another process has made anew meanwhile stays. Raises ModelError where nothing can be removed.
    """
    logger.warning("a conversion in the cache is damaged, and is made again: %s", fault)
    try:
        with FileLock(place / "lock"):
            for made in [path for path in place.glob("[!.]*/") if _is_damaged(path)]:
                aside = Path(tempfile.mkdtemp(prefix=".", suffix=LEFTOVER, dir=place))
                made.rename(aside / made.name)  # at once: of what is half removed, nothing must be opened
                shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise ModelError(f"{fault}; {place} cannot be removed, to be converted again: {error}") from error


def _is_damaged(made: Path) -> bool:
    try:
        if (made / FILE_NAME).is_file():
            read_folder(made)
        return bool(wrong_sums(made)[1])
    except ModelError:
        return True


def _converter(module: str, what: str, out: Path) -> Any:
    """Import a module of the converter, and remove what processes that were killed left beside a folder."""
    try:
        found = importlib.import_module(module)
        stages = importlib.import_module("edge_embed_convert.publishing.staging")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{what}, to be converted once, and {error.name} is not installed: {install_extra('convert')}"
        ) from error
    for other in out.parent.iterdir():  # whatever they were converting
        stages.remove_leftovers(other)
    return found


def _made(folder: Path) -> list[Path]:
    """List the finished conversion in its folder; half-made ones are hidden."""
    return [path.parent for path in folder.glob(f"[!.]*/{FILE_NAME}")]


def _convert(model: ModelFolder, out: Path, to: str, task: str | None, spec: Mapping[str, Any], portable: bool) -> None:
    origin = {"source": model.spec.source, "revision": model.spec.revision}
    what = f"{model.folder} holds safetensors" if model.original else f"{_place(model)} is GGUF"
    converter = _converter("edge_embed_convert", what, out)
    values = {**spec, **origin}
    options = {"name": model.spec.name, "task": task, "adapter": model.adapter, "spec": values, "portable": portable}
    converter.convert(_place(model), out, [to], **options)


def _place(model: ModelFolder) -> Path:
    """Return the folder of original weights, or the GGUF file."""
    return model.folder if model.original else model.folder / str(model.checkpoint)


def _key(model: ModelFolder, to: str, task: str | None, spec: Mapping[str, Any], cache: Path) -> str:
    """Name the conversion by what it depends on: what the source's files hold, the level, the converter.

    Raises CorruptModelError for a file that does not have the hash that is recorded of it.
    """
    folder = model.folder.resolve()  # one conversion, whatever the working directory
    patterns = (
        *(("[!.]*",) if model.original else BESIDE),
        "*Pooling/*",
        *(f"{Path(name).parent}/*" for name in model.dense),
        *([f"adapters/{task}/*"] if task else []),
    )
    paths = [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]
    names = sorted(path.relative_to(folder).as_posix() for path in paths if path.suffix not in NOT_READ)
    weights = [] if model.original else part_names(str(model.checkpoint))
    names = [*names, *weights]
    check_files(folder, [name for name in names if Path(name).suffix in CHECKED or name in weights], cache)
    files = [(name, remembered_digest(folder / name, cache)) for name in names]
    if model.adapter is not None:
        files += _adapter_files(model.adapter.resolve(), cache)
    facts = (str(folder), model.spec.source, files, to, task, CONVERTER)
    text = repr((*facts, sorted(spec.items())) if spec else facts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _adapter_files(folder: Path, cache: Path) -> list[tuple[str, str]]:
    """List what an adapter's folder says and what of it is merged, with its hashes; raises as `_key`."""
    paths = [path for pattern in ("[!.]*", "*_Pooling/*") for path in folder.glob(pattern) if path.suffix in CHECKED]
    names = sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())
    check_files(folder, names, cache)
    return [(str(folder / name), remembered_digest(folder / name, cache)) for name in names]
