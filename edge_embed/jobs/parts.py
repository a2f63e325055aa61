"""Parts of a job in either format: which chunks are done, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_embed.records.row import Chunk

from .folder import JobFolder, sweep, write_whole
from .parquet_part import encode_parquet, parquet_footer, read_parquet
from .part import CorruptPartError, Part, encode_npy, footer_of, npy_footer, read_npy

PARQUET = ".parquet"


def suffix_of(format: str) -> str:
    """Return the suffix of the parts of a job whose outputs have this format."""
    return PARQUET if format == "parquet" else ".npy"


def read_footer(path: Path) -> dict[str, Any]:
    """Read a part's footer; raise CorruptPartError where there is none."""
    return (parquet_footer if path.suffix == PARQUET else npy_footer)(path)


def read_part(path: Path) -> Part:
    """Read a part and compare it with its hash; raise CorruptPartError."""
    return (read_parquet if path.suffix == PARQUET else read_npy)(path)


def finished(folder: JobFolder, job: str, chunk: Chunk) -> dict[str, Any] | None:
    """Return the footer of a chunk's part, if there is one of this job and these bytes: nothing else tells that."""
    path = folder.part(chunk.number)
    if not path.is_file():
        return None
    try:
        footer = read_footer(path)
    except CorruptPartError:
        return None
    counts = [footer.get(name) for name in ("vectors", "rejected")]
    named = (footer.get("job"), footer.get("chunk"), footer.get("hash")) == (job, chunk.number, chunk.hash)
    return footer if named and all(type(count) is int and count >= 0 for count in counts) else None


def write_part(
    folder: JobFolder, job: Mapping[str, Any], hash: str, chunk: Chunk, part: Part, rejected: bytes
) -> dict[str, Any]:
    """Write a chunk's rejected rows, then its part, each whole, drop the partial file, and return the footer."""
    footer = footer_of(hash, chunk, part, rejected)
    data = encode_parquet(part, footer, job) if folder.suffix == PARQUET else encode_npy(part, footer)
    target, beside = folder.part(chunk.number), folder.rejected(chunk.number)
    sweep(target)
    sweep(beside)
    if rejected:
        write_whole(beside, rejected)
    else:
        beside.unlink(missing_ok=True)
    write_whole(target, data)
    folder.partial(chunk.number).unlink(missing_ok=True)
    return footer
