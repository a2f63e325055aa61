"""The benchmark of peers: what it measures with, and that the documentation is what its result gives; no speed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.peers import REAL, catalogue, corpus, environments, machine, tables, workloads, write
from benchmarks.peers.catalogue import ORACLE_ROW, ROWS, TORCH, Ready, Row
from benchmarks.peers.models import MINILM
from benchmarks.peers.workloads import Running, request
from benchmarks.timing import Seconds
from benchmarks.worker import Answer, Worker
from edge_embed_convert import convert

from support.places import ROOT

RESULTS = sorted((ROOT / "benchmarks" / "results").glob("peers*.json"))


def engine(model: Path, name: str = "edge_embed onnx float32") -> Ready:
    row = Row(name, "", "edge:load", "", 32, "its defaults")

    def start(**more: Any) -> Worker:
        return Worker("peers", row.adapter, model, 1, "{}", **more)

    return Ready(row, start)


@pytest.fixture(scope="module")
def tiny(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (folder,) = convert(checkpoint, tmp_path_factory.mktemp("made"), ["onnx:float32"])
    return folder


def test_an_engine_is_asked_in_every_way(tiny: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps(["a", "bc", "def", "a bc"]))
    running = Running()
    running.start(engine(tiny))
    rows = workloads.bulk(running, texts, 4, 2, tmp_path)
    singles = workloads.single(running, texts, 4, 2)
    asked = workloads.asking(running, list(running.workers), texts, 4)
    repeated = running.ask("edge_embed onnx float32", request(texts, 4, repeat=9))
    running.close()
    (row,) = rows.values()
    assert (len(row["wall"]), row["count"]) == (2, 4)
    assert row["memory"]["peak"] >= row["memory"]["now"] > 0
    assert singles["edge_embed onnx float32"]["count"] == 4
    assert set(asked["edge_embed onnx float32"]) == {"1", "2", "4", "8", "16", "32"}
    assert repeated is not None
    assert repeated.details["count"] == 9
    vectors = np.load(workloads.vectors_of(tmp_path, "edge_embed onnx float32"))
    np.save(workloads.vectors_of(tmp_path, ORACLE_ROW.name), vectors)
    (near,) = workloads.cosines(tmp_path, list(rows), ORACLE_ROW.name).values()
    assert near["least"] == pytest.approx(1)


def test_an_engine_that_fails_is_left_out_with_its_last_words(tmp_path: Path) -> None:
    running = Running()
    running.start(engine(tmp_path / "nothing"))
    running.start(Ready(engine(tmp_path, "absent").row, None, refused="not installed"))
    assert "nothing" in running.refused["edge_embed onnx float32"]
    assert running.refused["absent"] == "not installed"
    assert running.ask("absent", {}) is None
    running.close()


def test_a_start_ends_with_the_first_vector(tiny: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.json"
    texts.write_text('["a"]')
    ready = engine(tiny)
    found = workloads.starts([Ready(ready.row, ready.start, (tiny,))], texts, 1, 1)
    assert all(seconds > 0 for kind in found[ready.row.name].values() for seconds in kind)


def test_texts_are_the_same_every_time_and_fit() -> None:
    fits = corpus.fits_in(lambda texts: [len(text) for text in texts], 400)
    texts, again = (corpus.gather(40, 5, fits) for _ in range(2))
    assert texts == again
    assert (len(texts.bulk), len(texts.queries)) == (40, 5)
    assert max(map(len, texts.bulk)) <= 400
    assert all(len(text) <= corpus.QUERY for text in texts.short)
    told = texts.told(len)
    assert told["bulk"] == {"count": 40, "tokens": 40, "sha256": corpus.digest(texts.bulk)}


def test_a_catalogue_of_gettext_is_read() -> None:
    words = [b"header", b"Eine _Meldung, die lang genug ist\0mehrere", b"kurz", b"mit %s darin, auch lang genug"]
    table, data = b"", b""
    for word in words:
        table += struct.pack("<2I", len(word), 28 + 8 * len(words) + len(data))
        data += word
    file = b"\xde\x12\x04\x95" + struct.pack("<6I", 0, len(words), 0, 28, 0, 0) + table + data
    assert list(corpus.translations(file)) == ["Eine Meldung, die lang genug ist"]
    assert list(corpus.translations(b"something else, which is long enough")) == []


def test_every_row_has_an_adapter_and_an_environment() -> None:
    for row in [*ROWS, *catalogue.STATIC, ORACLE_ROW]:
        group, _, name = row.adapter.partition(":")
        text = (ROOT / "benchmarks" / "engines" / "peers" / f"{group}.py").read_text("utf-8")
        assert f"\ndef {name}(" in text
        assert row.environment in {"", *environments.PACKAGES, *environments.NODE}
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert [row.name for row in catalogue.rows_of(MINILM, ["fast"]) if not row.name.startswith("edge")] == [
        TORCH,
        "fastembed",
        "fastretrieval",
    ]


def test_versions_are_pinned() -> None:
    packages = [one for name, some in environments.PACKAGES.items() if name[:4] != "edge" for one in some]
    assert all("==" in one for one in packages)


def test_a_share_of_the_machine_is_of_its_own_type() -> None:
    tokens = 1e9 / (2 * machine.WEIGHTS[MINILM])  # as many as take a thousand million operations
    assert machine.share(MINILM, tokens, 8, {"int8": 4.0, "float32": 1.0}) == pytest.approx(0.25)
    assert machine.share(MINILM, tokens, 16, {"int8": 4.0}) is None


def test_percentiles_are_of_all_rounds() -> None:
    answers = [
        Answer(Seconds(1, 0.5), 0, {"seconds": [0.001, 0.003]}),
        Answer(Seconds(1, 0.5), 0, {"seconds": [0.002]}),
    ]
    assert workloads.percentiles(answers, 2)["p50"] == pytest.approx(2)


def result() -> dict[str, Any]:
    """Return a result as a run writes it, with made-up figures."""
    bulk = {"wall": [1.0, 2.0, 3.0], "cpu": [1.0, 2.0, 3.0], "memory": {"peak": 150.0, "now": 120.0}, "count": 10}
    row = {"bits": 8, "settings": "its defaults", "bulk": bulk, "cosine": {"mean": 0.999, "p1": 0.99, "least": 0.9}}
    row |= {"short": {"wall": [1.0], "cpu": [1.0]}, "single": {"p50": 1.0, "p95": 2.0, "p99": 3.0, "cpu_ms": 1.5}}
    far = row | {"cosine": {"mean": 0.9, "p1": 0.8, "least": 0.1}}
    told = {"tokens": {"bulk": 300, "short": 50, "queries": 20}, "refused": {"gone": "no | wheel"}}
    told["rows"] = {"edge_embed onnx int8": row, TORCH: row, "far": far}
    texts = {name: {"count": 10, "tokens": 300, "sha256": "0" * 64} for name in ("bulk", "short", "queries")}
    device = {"processor": "P", "features": [], "cores": 1, "cpus": 1, "system": "S", "python": "3", "versions": {}}
    found = {"machine": device, "models": {MINILM: told}, "texts": texts, "plan": {"texts": 10, "rounds": 3}}
    found |= {"conditions": {"threads": 2, "load": 0.5, "governor": None}, "limits": {"int8": 100.0, "memory": 9.0}}
    found |= {"cannot": catalogue.CANNOT, "environments": {"fastembed": {"mb": 1.0, "seconds": 2.0, "versions": {}}}}
    found["left_out_rows"] = list(catalogue.left_out(REAL))
    found["starts"] = {MINILM: {TORCH: {"warm": [9.0], "dropped": [19.0]}}}
    found["growth"] = {"model2vec": {"1000": {"s": 1.0, "peak_mb": 100.0}}}
    asked = {"1": {"per_s": 10.0, "p95": 100.0}}
    found["asking"] = {"threads": {TORCH: asked}, "texts": 10, "idle": {TORCH: bulk}, "busy": {TORCH: bulk}}
    found["long"] = {"refused": {}, "rows": {"PyTorch float32": {"bits": 32, "2048": {"wall": [2.0], "peak_mb": 10.0}}}}
    return found


def test_the_documentation_is_written_of_a_result(tmp_path: Path) -> None:
    for name in (write.README, write.SITE):
        (tmp_path / name).write_text((ROOT / name).read_text("utf-8"))
    path = tmp_path / "peers.json"
    path.write_text(json.dumps(result()))
    files = write.written(path, tmp_path)
    page = files[write.PAGE]
    assert "| **edge_embed onnx int8** | 5 (4 to 7) | 1.00 | 0.9990 | 0.9900 | 10 | 1.0 | 2.0 | 3.0 | 1.5 |" in page
    assert "| far | 5 (4 to 7) | 1.00 | 0.9000 |" in page
    assert "| gone | all-MiniLM-L6-v2 | no / wheel |" in page
    assert "| candding | multilingual-e5-small | takes names of its catalogue alone |" in page
    assert "100 GOP/s in int8, 9 GB of memory a second read and written" in page
    readme = files[write.README]
    assert "| edge_embed onnx int8 | 5 | 0.9990 | 1.0 | 150 |  |" in readme
    assert "| far |" not in readme  # its vectors are not the model's
    assert readme.replace(readme.split(write.BEGIN)[1].split(write.END)[0], "\n") != readme
    assert files[write.SITE].count('"benchmarks.md"') == 1
    assert "far" not in files[f"{write.PICTURES}/peers-speed.svg"]
    assert "left_out" not in tables.all_tables(result())


def test_the_documentation_is_what_the_committed_result_gives() -> None:
    assert (ROOT / write.PAGE).exists() == bool(RESULTS)
    for path in RESULTS[-1:]:
        for name, text in write.written(path, ROOT).items():
            assert (ROOT / name).read_text("utf-8") == text
