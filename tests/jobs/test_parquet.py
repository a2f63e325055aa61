"""Parquet in and out: types, metadata, and what other readers make of a part."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_embed import Embedder, InputError
from edge_embed.jobs import run
from edge_embed.jobs.status import verify

from support.jobs import digest, texts, write_jsonl

pa = pytest.importorskip("pyarrow", reason="pyarrow, the extra parquet, is not installed")
pq: Any = pytest.importorskip("pyarrow.parquet", reason="pyarrow, the extra parquet, is not installed")
LINES = texts(50)


@pytest.fixture(scope="module")
def made(quick: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("parquet")
    run(write_jsonl(place / "in.jsonl", LINES), place / "out", model=quick, format="parquet", rows=20)
    return place / "out"


@pytest.fixture(scope="module")
def expected(quick: str) -> np.ndarray:
    with Embedder(quick) as model:
        return model.encode(LINES)


def test_a_part(made: Path, expected: np.ndarray) -> None:
    first = made / "parts" / "part-00000000.parquet"
    table = pq.read_table(first)
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 12)
    assert np.stack(table.column("vector").to_numpy(zero_copy_only=False)).tolist() == expected[:20].tolist()
    assert table.column("id").to_pylist() == [f"n{n}" for n in range(20)]
    assert table.column("line").to_pylist() == [*range(1, 21)]
    column = pq.ParquetFile(first).metadata.row_group(0).column(3)
    assert (column.path_in_schema, column.compression) == ("vector.list.element", "ZSTD")
    assert "BYTE_STREAM_SPLIT" in column.encodings
    assert not any("DICTIONARY" in encoding for encoding in column.encodings)
    job = json.loads(table.schema.metadata[b"edge_embed.job"])
    assert job["model"]["fingerprint"] == json.loads((made / "job.json").read_text())["model"]["fingerprint"]
    assert job["model"]["dim"] == 12
    assert json.loads(table.schema.metadata[b"edge_embed.part"])["vectors"] == 20
    assert verify(made).vectors == 50


@pytest.mark.parametrize(
    ("precision", "type"),
    [
        ("int8", pa.list_(pa.int8(), 12)),
        ("uint8", pa.list_(pa.uint8(), 12)),
        ("binary", pa.binary(2)),
        ("ubinary", pa.binary(2)),
    ],
)
def test_other_precisions(quick: str, tmp_path: Path, precision: Any, type: Any) -> None:
    lines = write_jsonl(tmp_path / "in.jsonl", LINES)
    run(lines, tmp_path / "out", model=quick, format="parquet", precision=precision)
    table = pq.read_table(tmp_path / "out" / "parts" / "part-00000000.parquet")
    assert table.schema.field("vector").type == type
    with Embedder(quick) as model:
        wanted = model.encode(LINES, precision=precision)
    rows = table.column("vector").to_pylist()
    found = [list(np.frombuffer(row, wanted.dtype)) if isinstance(row, bytes) else row for row in rows]
    assert (np.array(found, wanted.dtype) == wanted).all()
    assert verify(tmp_path / "out").vectors == 50


def test_parquet_in(quick: str, tmp_path: Path, expected: np.ndarray) -> None:
    table = pa.table({"nr": [*range(50)], "body": LINES})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=13)
    done = run(tmp_path / "in.parquet", tmp_path / "out", model=quick, column="body", id_column="nr", rows=7)
    assert (np.load(done.files[-1]) == expected).all()
    rows = [json.loads(line) for line in done.files[0].read_text().splitlines()]
    assert rows[20] == {"file": "in.parquet", "line": 21, "id": 20}
    run(tmp_path / "in.parquet", tmp_path / "two", model=quick, column="body", id_column="nr", rows=7, processes=2)
    assert digest(tmp_path / "two") == digest(tmp_path / "out")
    with pytest.raises(InputError, match="no column 'text': it has 'body', 'nr'"):
        run(tmp_path / "in.parquet", tmp_path / "wrong", model=quick)
    pq.write_table(pa.table({"body": [*range(5)]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"column .body. of .*other.parquet is int64, not text"):
        run([tmp_path / "in.parquet", tmp_path / "other.parquet"], tmp_path / "wrong", model=quick, column="body")
    pq.write_table(pa.table({"body": ["a", None, "b"]}), tmp_path / "null.parquet")
    assert run(tmp_path / "null.parquet", tmp_path / "null", model=quick, column="body").rejected == 1
    (tmp_path / "bad.parquet").write_bytes(b"PAR1nothing of the kindPAR1")
    with pytest.raises(InputError, match="no Parquet file that can be read"):
        run(tmp_path / "bad.parquet", tmp_path / "wrong", model=quick, column="body")


def test_zstd_lines(quick: str, tmp_path: Path, expected: np.ndarray) -> None:
    with pa.output_stream(str(tmp_path / "in.txt.zst"), compression="zstd") as file:
        file.write("\n".join(LINES).encode())
    run(tmp_path / "in.txt.zst", tmp_path / "out", model=quick, rows=9)
    assert (np.load(tmp_path / "out" / "vectors.npy") == expected).all()
    (tmp_path / "cut.txt.zst").write_bytes((tmp_path / "in.txt.zst").read_bytes()[:-20])
    with pytest.raises(InputError, match="is cut short or damaged"):
        run(tmp_path / "cut.txt.zst", tmp_path / "cut", model=quick)


def _polars(paths: list[Path], module: Any) -> Any:
    table = module.read_parquet([*map(str, paths)])
    return table["vector"].to_numpy(), table["id"].to_list()


def _duckdb(paths: list[Path], module: Any) -> Any:
    names = [*map(str, paths)]
    rows = module.execute("SELECT vector, id FROM read_parquet(?) ORDER BY line", [names]).fetchall()
    return [row[0] for row in rows], [row[1] for row in rows]


def _pandas(paths: list[Path], module: Any) -> Any:
    table = module.concat([module.read_parquet(path) for path in paths])
    return np.stack(table["vector"].tolist()), table["id"].tolist()


def _datasets(paths: list[Path], module: Any) -> Any:
    cache = str(paths[0].parent.parent / "cache")
    rows = module.load_dataset("parquet", data_files=[*map(str, paths)], split="train", cache_dir=cache)
    return rows["vector"], rows["id"]


def _lancedb(paths: list[Path], module: Any) -> Any:
    place = module.connect(str(paths[0].parent.parent / "lance"))
    table = place.create_table("t", pq.read_table(paths[0]))
    for path in paths[1:]:
        table.add(pq.read_table(path))
    rows = table.to_arrow().sort_by("line")
    return rows.column("vector").to_pylist(), rows.column("id").to_pylist()


READERS = {"polars": _polars, "duckdb": _duckdb, "pandas": _pandas, "datasets": _datasets, "lancedb": _lancedb}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", READERS)
def test_other_readers(name: str, made: Path, expected: np.ndarray) -> None:
    try:
        module = importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed; pip install --group tables has it")
    vectors, ids = READERS[name](sorted((made / "parts").glob("*.parquet")), module)
    assert (np.array(vectors, np.float32) == expected).all()
    assert list(ids) == [f"n{n}" for n in range(50)]
