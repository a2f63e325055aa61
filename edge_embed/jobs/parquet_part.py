"""A part as Parquet: columns file, line, id, of passages start and stop, and vector; the footer in its metadata."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_embed.records.parquet import pyarrow

from .folder import canonical
from .part import CorruptPartError, Part

FOOTER, JOB = b"edge_embed.part", b"edge_embed.job"
SCALARS = {"float32": "float32", "int8": "int8", "uint8": "uint8"}


def encode_parquet(part: Part, footer: Mapping[str, Any], job: Mapping[str, Any]) -> bytes:
    """Return a part's bytes; the metadata of every part tells the model and its options, so that each stands alone."""
    arrow, parquet = pyarrow(""), pyarrow()
    vectors = part.vectors
    packed = job["model"]["precision"] in ("binary", "ubinary")
    if packed:
        data = arrow.py_buffer(np.ascontiguousarray(vectors).tobytes())
        column = arrow.Array.from_buffers(arrow.binary(vectors.shape[1]), len(vectors), [None, data])
    else:
        flat = arrow.array(np.ascontiguousarray(vectors).reshape(-1))
        column = arrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    passages = job["options"]["chunk_tokens"] is not None
    columns = {
        "file": arrow.array([one["file"] for one in part.fields], arrow.string()),
        "line": arrow.array([one["line"] for one in part.fields], arrow.int64()),
        "id": arrow.array([_text(one.get("id")) for one in part.fields], arrow.string()),
        **{
            name: arrow.array([one[name] for one in part.fields], arrow.int64())
            for name in ("start", "stop")
            if passages
        },
        "vector": column,
    }
    described = {key: job[key] for key in ("format", "release", "model", "options")}
    metadata = {FOOTER: canonical({**footer, "digest": _digest(part)}), JOB: canonical(described)}
    table = arrow.table(columns).replace_schema_metadata(metadata)
    file = io.BytesIO()
    split = None if packed else ["vector.list.element"]
    parquet.write_table(
        table,
        file,
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=split if vectors.dtype == np.float32 else False,
        write_page_checksum=True,
        store_schema=True,
    )
    return file.getvalue()


def parquet_footer(path: Path) -> dict[str, Any]:
    """Read a part's footer alone; raise CorruptPartError where there is none."""
    try:
        metadata = pyarrow().read_schema(path).metadata or {}
        footer = json.loads(metadata.get(FOOTER, b"null"))
    except (OSError, ValueError, pyarrow("lib").ArrowException) as error:
        raise CorruptPartError(f"{path} cannot be read: {error}") from error
    if not isinstance(footer, dict):
        raise CorruptPartError(f"{path} has no footer: it is no part of a job")
    return footer


def read_parquet(path: Path) -> Part:
    """Read a part; raise CorruptPartError unless its values are those that it was made of."""
    footer = parquet_footer(path)
    try:
        table = pyarrow().read_table(path, page_checksum_verification=True, use_threads=False)
    except (OSError, ValueError, pyarrow("lib").ArrowException) as error:
        raise CorruptPartError(f"{path} is damaged: {error}") from error
    try:
        vectors = _vectors(table.column("vector").combine_chunks(), footer, json.loads(table.schema.metadata[JOB]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptPartError(f"{path} is no part of a job: {error!r}") from error
    rows = table.drop_columns(["vector"]).to_pylist()
    fields = [{key: value for key, value in row.items() if key != "id" or value is not None} for row in rows]
    part = Part(fields, vectors)
    if _digest(part) != footer.get("digest"):
        raise CorruptPartError(f"{path} is damaged: its values are not those that were written")
    return part


def _vectors(column: Any, footer: Mapping[str, Any], job: Mapping[str, Any]) -> Any:
    precision, count = job["model"]["precision"], int(footer["vectors"])
    if precision in ("binary", "ubinary"):
        data = np.frombuffer(b"".join(column.to_pylist()), np.int8 if precision == "binary" else np.uint8)
        return data.reshape(count, column.type.byte_width)
    return column.flatten().to_numpy().reshape(count, column.type.list_size)


def _text(id: object) -> str | None:
    return id if id is None or isinstance(id, str) else json.dumps(id)


def _digest(part: Part) -> str:
    """Hash what the rows say, as Parquet holds it, and the vectors."""
    digest = hashlib.blake2b(digest_size=32)
    for one in part.fields:
        fields = {**one, "id": _text(one.get("id"))}
        digest.update(canonical({key: value for key, value in fields.items() if value is not None}) + b"\n")
    digest.update(np.ascontiguousarray(part.vectors).tobytes())
    return digest.hexdigest()
