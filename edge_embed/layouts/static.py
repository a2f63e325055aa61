"""Static models' folders -> `Weights` and `ModelSpec`: model2vec's, and sentence-transformers' StaticEmbedding."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.formats.json_file import read_object
from edge_embed.formats.safetensors import safetensors_header
from edge_embed.formats.static_table import TABLES, table_of
from edge_embed.spec.model import FORMAT, ModelSpec, with_overrides
from edge_embed.spec.values import LARGEST, shown, whole
from edge_embed.spec.weights import File, Level, Weights

from .dense import WEIGHTS, check_there, read_dense
from .listing import Listing
from .sentence_transformers import license_of, module_list, prompts_of

LEVELS: dict[str, Level] = {"F32": "float32", "F64": "float32", "F16": "float16", "BF16": "float16", "I8": "int8"}
MODEL2VEC, STATIC = "model2vec", "static"  # the first leaves unknown words out, the second has a vector for them
LENGTH = 512  # tokens; model2vec's own default
KINDS = ("StaticEmbedding", "Dense", "Normalize")


@dataclass(frozen=True)
class StaticFolder:
    """Where a static model's table lies among the files, `place/`, which modules follow it, and whose it is."""

    place: str
    architecture: str
    dense: tuple[str, ...] = ()
    normalize: bool = False

    @property
    def table(self) -> str:
        """The file of the table."""
        return self.place + WEIGHTS

    @property
    def tokenizer(self) -> str:
        """The file of the tokenizer."""
        return self.place + "tokenizer.json"


def find_static(files: Listing) -> StaticFolder | None:
    """Find a static model in a folder, by modules.json or config.json; None where it is another.

    Raises UnsupportedModelError for modules that are not implemented.
    """
    config = read_object(files.folder / "config.json", {}) if "config.json" in files else {}
    model2vec = config.get("model_type") == MODEL2VEC
    architecture = MODEL2VEC if model2vec else STATIC
    modules = _modules(files)
    if not modules or modules[0][0] != "StaticEmbedding":
        return StaticFolder("", MODEL2VEC, normalize=config.get("normalize") is True) if model2vec else None
    kinds = [kind for kind, _ in modules]
    if set(kinds) - {*KINDS} or kinds != sorted(kinds, key=KINDS.index) or kinds.count(KINDS[0]) > 1:
        raise UnsupportedModelError(
            f"{files.folder}/modules.json: modules {', '.join(kinds)} are not implemented; {listing(KINDS)} in this "
            "order are"
        )
    dense = tuple(place for kind, place in modules if kind == "Dense")
    normalize = config.get("normalize") is True if model2vec and "normalize" in config else "Normalize" in kinds
    place = modules[0][1]
    return StaticFolder(f"{place}/" if place else "", architecture, dense, normalize)


def _modules(files: Listing) -> list[tuple[str, str]]:
    """Return the kind and the place of each module; none without modules.json."""
    if "modules.json" not in files:
        return []
    return [(kind.rsplit(".", 1)[-1], place) for kind, place in module_list(files.folder / "modules.json")]


def _weights(found: StaticFolder, files: Listing) -> tuple[Weights, ...]:
    """Describe the table's file, by its header; raise CorruptModelError where there is none."""
    kind, _ = _table(found, files)
    if kind not in LEVELS:
        raise UnsupportedModelError(f"{files.folder / found.table} is {kind}; only {listing(LEVELS)} can be read")
    return (Weights(format="static", level=LEVELS[kind], files=(File(path=found.table),)),)


def read_static_spec(
    found: StaticFolder, files: Listing, name: str, source: tuple[str | None, str | None], overrides: Mapping[str, Any]
) -> ModelSpec:
    """Read what the folder's files say of the model; `source`: its repository and commit. Raises as `read_spec`."""
    folder = files.folder
    _, (_, width) = _table(found, files)
    dense = read_dense(folder, found.dense, width)
    values: dict[str, Any] = {
        "name": name,
        "architecture": found.architecture,
        "dim": dense[-1].out_features if dense else width,
        "pooling": "mean",
        "normalize": found.normalize,
        "max_tokens": _max_tokens(found, files),
        "license": license_of(folder),
        "dense": [dataclasses.asdict(module) for module in dense],
        **prompts_of(folder, {}),
    }
    spec = with_overrides(ModelSpec.from_json(json.dumps({"format": FORMAT, **values}), folder), overrides)
    return dataclasses.replace(spec, weights=_weights(found, files), source=source[0], revision=source[1])


def _max_tokens(found: StaticFolder, files: Listing) -> int:
    """Return the length that model2vec cuts texts to; sentence-transformers does not cut them at all."""
    path = files.folder / "config.json"
    config = read_object(path, {})
    if found.architecture == STATIC or ("max_length" in config and config["max_length"] is None):
        return LARGEST
    return whole(config, "max_length", path, LENGTH)


def _table(found: StaticFolder, files: Listing) -> tuple[str, list[int]]:
    """Return the type and the shape of the table."""
    check_there(found.table, files, "the table of token vectors")
    header = safetensors_header(files.header(found.table))
    entry = table_of(header)
    if entry is None or len(entry["shape"]) != 2 or 0 in entry["shape"]:
        raise CorruptModelError(
            f"{files.folder / found.table} should hold one of {listing(TABLES)}, of rows and columns, and holds "
            f"{shown(entry['shape']) if entry else listing(header)}"
        )
    return entry["dtype"], entry["shape"]
