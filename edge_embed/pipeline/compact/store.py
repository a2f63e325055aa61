"""The tables of a vocabulary in the cache: written once, mapped at every later start, read anew where they changed.

They are known by the hash of the tokenizer.json that they were made of, and have a hash of their own beside them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.formats.safetensors import map_tensors
from edge_embed.hub.digests import remembered_digest
from edge_embed.hub.notes import replace_bytes, replace_text
from edge_embed.pipeline.closing_token import CONFIG

FOLDER, VERSION = "vocabularies", 1  # raise it when what is written changes, so that older files are not read
DTYPES = {"<i8": "I64", "<f8": "F64", "<i4": "I32", "|i1": "I8"}
ABOUT = "about"


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer.json as `skeleton_of` leaves it, and its model's tables; `kind` names the model.

    `size` is one more than the largest id, `hidden` the special tokens that are text in texts. `unknown` is Unigram's,
    `whole` BPE's.
    """

    kind: str
    skeleton: str
    word: int
    size: int
    tables: Mapping[str, NDArray[Any]]
    hidden: tuple[str, ...] = ()
    unknown: int = 0
    whole: bool = False


def place_of(tokenizer: Path, special_tokens: str, cache: Path) -> Path:
    """Return where the tables of a tokenizer.json lie, as it reads special tokens in texts."""
    config = tokenizer.with_name(CONFIG)
    beside = config.read_bytes() if config.is_file() else b""
    sums = remembered_digest(tokenizer, cache), hashlib.sha256(beside).hexdigest()
    facts = (VERSION, tokenizers.__version__, *sums, special_tokens)
    return cache / FOLDER / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:24]}.safetensors"


def read(place: Path, cache: Path) -> Vocabulary | None:
    """Map the tables; None where there are none, or they are not as they were written."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, CorruptModelError, UnsupportedModelError):
        if remembered_digest(place, cache) != _sum_of(place).read_text("ascii"):
            return None
        tables = map_tensors(place)
        about = json.loads(tables.pop(ABOUT).tobytes())
        return Vocabulary(tables=tables, **about | {"hidden": tuple(about["hidden"])})
    return None


def write(place: Path, vocabulary: Vocabulary) -> None:
    """Write the tables; a cache that cannot be written stays as it is."""
    tables = {name: np.ascontiguousarray(table) for name, table in vocabulary.tables.items()}
    about = {name: value for name, value in asdict(vocabulary).items() if name != "tables"}
    tables[ABOUT] = np.frombuffer(json.dumps(about).encode(), np.int8)
    header, at = {}, 0
    parts = sorted(tables.items(), key=lambda part: -part[1].itemsize)  # each then begins where its elements align
    for name, table in parts:
        entry = {"dtype": DTYPES[table.dtype.str], "shape": table.shape, "data_offsets": (at, at + table.nbytes)}
        header[name], at = entry, at + table.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join([len(text).to_bytes(8, "little"), text, *(table.tobytes() for _, table in parts)])
    with contextlib.suppress(OSError):
        replace_bytes(place, data)
        replace_text(_sum_of(place), hashlib.sha256(data).hexdigest())


def _sum_of(place: Path) -> Path:
    return place.with_suffix(".sha256")
