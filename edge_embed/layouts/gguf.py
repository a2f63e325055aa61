"""GGUF files of a folder -> `Weights`, and a file's own metadata -> `ModelSpec`.

Levels are read from the files' names, as the hub's tools name them, or from the metadata where a name has none.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.formats.gguf import PART, Header, part_names, read_header
from edge_embed.formats.gguf_dense import holds_dense
from edge_embed.formats.mmproj import image_spec_of, read_mmproj
from edge_embed.spec.model import FORMAT, ModelSpec, Pooling, with_overrides, with_values
from edge_embed.spec.weights import LEVELS, File, Level, Weights

from .dense import tell_of_none
from .facts import facts_of, facts_of_folder
from .listing import Listing

logger = logging.getLogger(__name__)
SPEC_KEY = "edge_embed.spec"  # the text of edge_embed.json, in files that we made
POOLING: dict[int, Pooling] = {1: "mean", 2: "first", 3: "last"}
RANK = 4
EMBEDDING_GEMMA = "gemma-embedding"
# general.file_type, a number (llama.h, llama_ftype), for files whose names say no level
FILE_TYPES = {
    **{0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S"},
    **{12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K"},
    **{19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL"},
    **{26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16"},
}
# Anchored, so that `:F16` is not found in BF16; `-00001-of-00003` is a part of a file that was split.
LEVEL = re.compile(r"(?:.*[-._])?(F16|BF16|F32|I?Q\d[A-Z0-9_]{0,12})(?:-(\d{5})-of-(\d{5}))?\.gguf", re.I)
NO_MODEL = re.compile(r"(?:\A|[-._])(imatrix|mmproj)[-._]", re.I)  # anywhere in a name; see _beside_model


def gguf_files(names: Iterable[str]) -> dict[str, list[str]]:
    """Group the names of GGUF models by level (upper case, or the name where that says none), the file to open first.

    A split file is listed only if all of its parts are among the names.
    """
    found: dict[str, list[str]] = {}
    models = sorted(name for name in names if name.lower().endswith(".gguf") and not _beside_model(name))
    for name in models:
        level, part = _named_level(base(name)) or name, PART.fullmatch(name)
        if (part is None or int(part[2]) == 1) and set(parts := part_names(name)) <= set(models):
            found.setdefault(level, parts)
    return found


def find_mmproj(names: Iterable[str]) -> str | None:
    """Return the name of llama.cpp's file of an image tower, the most exact of several; None where there is none."""
    found = [name for name in names if _beside_model(name) == "mmproj"]
    return min(found, key=lambda name: (_exactness(name), name), default=None)


def _beside_model(name: str) -> str | None:
    """Return what a GGUF file is that is no model, "imatrix" or "mmproj", by a word of its name; None for a model."""
    found = NO_MODEL.search(base(name)) if name.lower().endswith(".gguf") else None
    return found[1].lower() if found else None


def _exactness(name: str) -> int:
    level = _named_level(base(name))
    return LEVELS["gguf"].index(level) if level else len(LEVELS["gguf"])


def _named_level(name: str) -> Level | None:
    """Return the level that a file's name says, None where it says none that is known."""
    match = LEVEL.fullmatch(name)
    return match[1].upper() if match and match[1].upper() in LEVELS["gguf"] else None


def base(name: str) -> str:
    """Return a name without its folders."""
    return name.rpartition("/")[2]


def find_gguf(files: Listing) -> tuple[Weights, ...]:
    """List the GGUF models of a folder, one a level; where the folder itself has none, those of its sub-folders.

    A file whose name says no level has that of its header, unless another's name says it; on a hub headers of such
    files are not fetched where names say any. One whose level is not known is passed over, if the folder has anything
    else. Raises UnsupportedModelError or CorruptModelError for one that is all there is.
    """
    groups = gguf_files(files.top) or gguf_files(_of_one_model(files.sizes))
    found = {level: names for level, names in groups.items() if level in LEVELS["gguf"]}
    refused = None
    for name in sorted(groups.keys() - found.keys()):
        if found and not files.has(name):
            continue
        try:
            found.setdefault(file_level(files.header(name)), groups[name])
        except (UnsupportedModelError, CorruptModelError) as error:
            refused = error
    if refused and not found and "config.json" not in files:
        raise refused
    if refused:
        logger.warning("passed over: %s", refused)
    return tuple(
        Weights(format="gguf", level=level, files=tuple(File(path=name) for name in names))
        for level, names in found.items()
    )


def _of_one_model(names: Iterable[str]) -> list[str]:
    """Return the names of GGUF models if all are called alike but for their levels: else they are of several models."""
    models = [name for name in names if name.lower().endswith(".gguf") and not _beside_model(name)]
    matches = {name: LEVEL.fullmatch(base(name)) for name in models}
    stems = {base(name)[: match.start(1)] if match else base(name) for name, match in matches.items()}
    return models if len(stems) == 1 else []


def file_level(path: Path) -> str:
    """Return a file's level, from its name or else its metadata; raise UnsupportedModelError when neither says it."""
    if level := _named_level(path.name):
        return level
    number = read_header(path).metadata.get("general.file_type")
    if not isinstance(number, int) or number not in FILE_TYPES:
        raise UnsupportedModelError(
            f"{path}: neither its name nor general.file_type={number!r} says a level that is known: "
            f"{listing(LEVELS['gguf'])}"
        )
    return FILE_TYPES[number]


def read_gguf_spec(
    files: Listing, model: str, name: str, repository: str | None, overrides: Mapping[str, Any]
) -> ModelSpec:
    """Read what a GGUF file says of its model, and what is known of the repository that it came from.

    `model` is the file among them. Where it is a model that reads images among its tokens, the mmproj file beside
    it says how they become pixels.
    Raises UnsupportedModelError for a file that cannot embed or does not say how to pool.
    """
    path = files.header(model)
    header = read_header(path)
    if SPEC_KEY in header.metadata:
        spec = ModelSpec.from_json(str(header.metadata[SPEC_KEY]), f"{path}: {SPEC_KEY}")
        if spec.dense and holds_dense(header):
            spec = dataclasses.replace(spec, dense=())  # whose files need not lie beside it
        return with_overrides(with_values(spec, {"source": repository or spec.source}), overrides)
    kind = header.metadata.get("general.architecture")
    width = header.metadata.get(f"{kind}.embedding_length")
    facts = facts_of(repository) if repository else facts_of_folder(files.folder, kind, width)
    return _foreign_spec(header, files, path, name, facts, overrides)


def check_pooling(spec: ModelSpec, path: Path) -> None:
    """Raise CorruptModelError when a file's metadata say another pooling or width than the model's other files."""
    metadata = read_header(path).metadata
    kind = metadata.get("general.architecture")
    number = metadata.get(f"{kind}.pooling_type")
    pooling = POOLING.get(number) if isinstance(number, int) else None
    if pooling not in (None, spec.pooling):
        raise CorruptModelError(f"{path} says pooling {pooling!r}, the files beside it {spec.pooling!r}: one is wrong")
    if (dim := metadata.get(f"{kind}.embedding_length")) != spec.width:
        raise CorruptModelError(f"{path} is {dim} wide, the files beside it say {spec.width}: they are of other models")


def _foreign_spec(
    header: Header, files: Listing, path: Path, name: str, facts: dict[str, Any], overrides: Mapping[str, Any]
) -> ModelSpec:
    metadata = header.metadata
    kind = metadata.get("general.architecture")
    if metadata.get("general.type", "model") != "model" or not isinstance(kind, str):
        what = metadata.get("general.type") if isinstance(kind, str) else "of no architecture"
        raise UnsupportedModelError(f"{path} is {what!r}, not a model that can embed")
    if not holds_dense(header) and kind == EMBEDDING_GEMMA:  # of those inside none is lost: rows went through them
        tell_of_none(path)
    if missing := [key for key in ("embedding_length", "context_length") if not metadata.get(f"{kind}.{key}")]:
        raise CorruptModelError(f"{path} lacks {listing(f'{kind}.{key}' for key in missing)}")
    dim, limits = header.whole(f"{kind}.embedding_length"), [header.whole(f"{kind}.context_length")]
    limits += [facts["max_tokens"]] if facts.get("max_tokens") else []
    values = {
        "name": name,
        "architecture": kind,
        "dim": dim,
        "normalize": True,
        "attention": "causal" if header.causal else "full",
        "license": header.text("general.license"),
        **facts,
        "pooling": overrides.get("pooling")
        or _pooling(metadata.get(f"{kind}.pooling_type"), facts.get("pooling"), path, kind),
        "max_tokens": min(limits),
        "matryoshka_dims": [size for size in facts.get("matryoshka_dims", []) if size <= dim],
        "image": _image(files, dim) if "image_token" in facts else None,
    }
    return with_overrides(ModelSpec.from_json(json.dumps({"format": FORMAT, **values}), path), overrides)


def _image(files: Listing, dim: int) -> dict[str, Any] | None:
    """Return what the image tower beside a language model of that width takes; None where there is none."""
    name = find_mmproj(files.top)
    if name is None:
        return None
    tower = files.header(name)
    return dataclasses.asdict(image_spec_of(read_mmproj(tower, dim), tower))


def _pooling(number: object, fact: Pooling | None, path: Path, kind: str) -> Pooling:
    """Return the pooling that the file or the facts say; never one of our own choice."""
    if number == RANK:
        raise UnsupportedModelError(f"{path} is a reranker ({kind}.pooling_type {RANK}): it gives scores, not vectors")
    own = POOLING.get(number) if isinstance(number, int) else None
    if own is None and fact is None:
        raise UnsupportedModelError(
            f"{path} does not say how to pool ({kind}.pooling_type is {number!r}): put modules.json and "
            "1_Pooling/config.json of the original model beside it, or an edge_embed.json"
        )
    if own is not None and fact not in (None, own):
        raise CorruptModelError(
            f"{path} says pooling {own!r}, and the model is known to use {fact!r}: get another file"
        )
    pooled = own or fact
    assert pooled is not None
    return pooled
