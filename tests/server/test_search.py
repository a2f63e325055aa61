"""/v1/search: the hits of the index itself, whatever becomes of its file while the service runs."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_embed import Embedder, Index, InputError, SearchIndexError
from edge_embed.search.filters import make_filters
from edge_embed.search.reader import Question, Reader
from edge_embed.server.describe import Described
from edge_embed.server.gather import gather
from edge_embed.server.indexes import MOST_WAITING, find_indexes
from edge_embed.server.models import Model
from edge_embed.server.settings import Settings
from edge_embed.server.shapes.search import MOST_LETTERS

from support.search import SPEC, fake_model
from support.service import Loader, Running, running

ITEMS: list[dict[str, Any]] = [
    {"id": "tea", "text": "Pour boiling water over the leaves.", "metadata": {"user": "ann"}, "time": 100},
    {"id": "bus", "text": "The bus to the station leaves at noon.", "metadata": {"user": "bob"}, "time": 200},
    {"id": "odd", "text": '<img src=x onerror="alert(1)">', "metadata": {"user": "eve"}, "time": 300},
]


def served(**changes: Any) -> Model:
    spec = replace(SPEC, **changes)
    return Model(spec.name, f"ref-{spec.name}", Described(spec=spec, level="onnx:int8", bytes=1, created=1, peak=1))


@contextlib.contextmanager
def searching(tokenizer: Path, *indexes: object, models: Sequence[Model] = (), **options: Any) -> Iterator[Running]:
    models = models or [served()]
    found = find_indexes(Settings(models=[], index=[str(one) for one in indexes]), models)
    loader = Loader(tokenizer, spec=options.pop("spec", SPEC))
    with running(tokenizer, models, gather(found), loader, found, **options) as service:
        yield service


def ask(service: Running, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    """Search; return what the body holds of a success, and status and error of a refusal."""
    status, _, body = service.send("POST", "/v1/search", json.dumps(fields).encode(), headers)
    return body if status == 200 else (status, body["error"]["code"], body["error"]["message"])


@pytest.fixture
def embedder(tiny_tokenizer: Path) -> Embedder:
    """Return what the service's model is, in process."""
    return fake_model(tiny_tokenizer)


@pytest.fixture
def file(tmp_path: Path, embedder: Embedder) -> Path:
    make(tmp_path / "i.db", embedder)
    return tmp_path / "i.db"


def make(path: Path, embedder: Embedder, items: Sequence[dict[str, Any]] = ITEMS) -> None:
    with Index.open(path, embedder) as index:
        index.add(items)


def test_hits_are_those_of_the_index(tiny_tokenizer: Path, file: Path, embedder: Embedder) -> None:
    with searching(tiny_tokenizer, file) as service, Index.open(file, embedder) as index:
        for fields in (
            {"query": "the bus leaves"},
            {"query": "alert(1)", "top": 1},
            {"query": "water", "hybrid": False, "least": -1},
            {"query": {"text": "leaves"}, "where": {"user": ["ann", "eve"]}},
            {"query": "leaves", "since": 150, "until": 250.5, "least": -1},
            {"query": "leaves", "paths": ["*.md"]},
        ):
            query, limits = fields["query"], {name: value for name, value in fields.items() if name != "query"}
            hits = index.search(query["text"] if isinstance(query, dict) else str(query), **limits)  # type: ignore[arg-type]
            expected = [hit.to_json() for hit in hits]
            told = ask(service, **fields)
            assert told == {
                "index": "default",
                "model": "fake",
                "reference": index.meta.reference,
                "hits": told["hits"],
            }
            assert [{**hit, "score": 0} for hit in told["hits"]] == [{**hit, "score": 0} for hit in expected]
            assert [hit["score"] for hit in told["hits"]] == pytest.approx([hit["score"] for hit in expected], abs=1e-5)
        assert ask(service, query=["tea", "bus"], top=1)["results"] == [
            {name: ask(service, query=text, top=1)[name] for name in ("reference", "hits")} for text in ("tea", "bus")
        ]
        status, headers, _ = service.send("POST", "/v1/search", b'{"query": "x", "colour": 1}')
        assert (status, headers["edge-embed-ignored"]) == (200, "colour")
        assert headers["edge-embed-fingerprint"] == SPEC.fingerprint
        assert service.metric('edge_embed_requests_total{model="fake",route="/v1/search",status="200"}') == 12
        listed = service.send("GET", "/v1/indexes")[2]
        assert listed == {"indexes": [{"name": "default", "model": "fake", "dims": 64, "passages": 3}]}


def test_several_indexes_and_none(tiny_tokenizer: Path, file: Path, tmp_path: Path, embedder: Embedder) -> None:
    with Index.open(tmp_path / "b.db", embedder, dims=16) as index:
        index.add(ITEMS[:1])
    with searching(tiny_tokenizer, f"{file}=a", f"{tmp_path / 'b.db'}=b") as service:
        assert ask(service, query="bus")["index"] == "a"
        assert [hit["id"] for hit in ask(service, query="bus", index="b", least=-1)["hits"]] == ["tea"]
        assert ask(service, query="bus", index="c") == (404, "no_index", "no index 'c' here: there is 'a', 'b'")
    with searching(tiny_tokenizer) as service:
        status, code, message = ask(service, query="bus")
        assert (status, code) == (404, "no_index")
        assert "--index FILE" in message
        assert service.send("GET", "/v1/indexes")[2] == {"indexes": []}
    settings = Settings(models=[], index=[str(file), str(file)])
    with pytest.raises(InputError, match="two indexes are called default"):
        find_indexes(settings, [served()])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "query is missing"),
        ({"query": []}, "query is empty"),
        ({"query": [1, 2]}, "query[0]=1: expected"),
        ({"query": "x", "top": 0}, "top=0 must be from 1 to 1000"),
        ({"query": "x", "top": -5}, "top=-5 must be"),
        ({"query": ["x", "y"], "top": 501}, "top=501 must be from 1 to 500 for 2 queries"),
        ({"query": "x", "paths": ["*"] * 101}, "more than 100 values"),
        ({"query": "x", "where": {"a": list(range(101))}}, "more than 100 values"),
        ({"query": "x", "where": {"a": {"b": 1}}}, "where: 'a' is compared with"),
        ({"query": "x", "where": {'a"': 1}}, "without quotation marks"),
        ({"query": "x", "since": "yesterday"}, "since='yesterday' is no date"),
        ({"query": "x", "hybrid": "yes"}, "hybrid='yes'"),
        ({"query": {"image": "data:image/png;base64,AA=="}}, "image"),
    ],
)
def test_refusals(service_with_index: Running, fields: dict[str, Any], message: str) -> None:
    status, _, told = ask(service_with_index, **fields)
    assert status == 400
    assert message in told


def test_limits_and_keys(tiny_tokenizer: Path, file: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("right\n")
    with searching(tiny_tokenizer, file, api_key_file=tmp_path / "keys") as service:
        key = {"Authorization": "Bearer right"}
        assert ask(service, query="x")[0] == 401
        assert service.send("GET", "/v1/indexes")[0] == 401
        assert ask(service, key, query="tea", least=-1)["hits"]
        assert ask(service, key, query="x" * (MOST_LETTERS + 1))[:2] == (413, "too_large")
        assert ask(service, key, query="no match for a very long phrase of words " * 390)["hits"] is not None


@pytest.fixture
def service_with_index(tiny_tokenizer: Path, file: Path) -> Iterator[Running]:
    with searching(tiny_tokenizer, file) as service:
        yield service


def test_what_others_do_to_the_file(
    service_with_index: Running, file: Path, tmp_path: Path, tiny_tokenizer: Path, embedder: Embedder
) -> None:
    """It is written to, compacted, replaced, spoilt, of another model, gone, and back: right answers, or an error."""

    def ids() -> Any:
        found = ask(service_with_index, query="the bus", least=-1)
        return [hit["id"] for hit in found["hits"]] if isinstance(found, dict) else found[:2]

    gone = (503, "unavailable")
    assert sorted(ids()) == ["bus", "odd", "tea"]
    with Index.open(file, embedder) as index:
        index.remove(["odd"])
        assert sorted(ids()) == ["bus", "tea"]
        index.add([{"id": "new", "text": "The bus is new."}])
        index.compact()
        assert sorted(ids()) == ["bus", "new", "tea"]
    make(tmp_path / "other.db", embedder, ITEMS[:1])
    os.replace(tmp_path / "other.db", file)
    assert ids() == ["tea"]
    good = file.read_bytes()
    file.write_bytes(os.urandom(len(good)))
    assert ids() in (["tea"], gone)  # SQLite holds pages
    (tmp_path / "junk").write_bytes(os.urandom(len(good)))
    os.replace(tmp_path / "junk", file)
    assert ids() == gone
    assert "error" in service_with_index.send("GET", "/v1/indexes")[2]["indexes"][0]
    file.write_bytes(good)
    assert ids() == ["tea"]
    for suffix in ("", "-wal", "-shm", "-bits"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
    assert ids() == gone
    make(file, fake_model(tiny_tokenizer, fingerprint="1" * 32))
    assert ids() == gone
    file.unlink()
    with Index.open(file, embedder, dims=32) as index:
        index.add(ITEMS[1:2])
    assert ids() == gone  # the vector was asked for at another length
    assert ids() == ["bus"]
    message = ask(service_with_index, query="x", index="nowhere")[2]
    assert str(tmp_path) not in message


def test_a_writer_beside_searches(service_with_index: Running, file: Path, embedder: Embedder) -> None:
    """Each search sees the index as it was at one moment: both items of a call, or none."""
    ended = threading.Event()

    def write() -> None:
        with Index.open(file, embedder) as index:
            for round in range(30):
                index.add([{"id": id, "text": f"The train of round {round} is late."} for id in ("one", "two")])
                index.compact()
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not ended.is_set():
        found = ask(service_with_index, query="the train is late", least=-1)
        texts = {hit["text"] for hit in found["hits"] if hit["id"] in ("one", "two")}
        assert len(texts) <= 1
    writer.join()
    assert "round 29" in ask(service_with_index, query='"round 29"')["hits"][0]["text"]


def test_a_service_without_the_model_does_not_start(tiny_tokenizer: Path, file: Path, tmp_path: Path) -> None:
    def found(*models: Model, index: object = file) -> None:
        find_indexes(Settings(models=[], index=[str(index)]), models).close()

    with pytest.raises(SearchIndexError, match=r"made with fake, and none of the models .*: serve fake too"):
        found(served(name="other", fingerprint="1" * 32))
    found(served(name="other", fingerprint="1" * 32), served(name="same"))
    with pytest.raises(InputError, match="there is no index"):
        found(served(), index=tmp_path / "none.db")
    make(tmp_path / "x.db", fake_model(tiny_tokenizer, fingerprint=None))
    with pytest.raises(SearchIndexError, match="none of the models"):
        found(served(name="other"), index=tmp_path / "x.db")
    found(served(name="other"), served(), index=tmp_path / "x.db")
    found(served(name="other", fingerprint=None), index=tmp_path / "x.db")
    (tmp_path / "junk.db").write_bytes(b"SQLite format 3\0" + os.urandom(5000))
    with pytest.raises(SearchIndexError, match="damaged, or no index"):
        found(served(), index=tmp_path / "junk.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(SearchIndexError, match="is empty"):
        found(served(), index=tmp_path / "empty.db")


def test_a_model_whose_fingerprint_is_known_when_it_is_loaded(tiny_tokenizer: Path, file: Path) -> None:
    unknown = served(fingerprint=None)
    with searching(tiny_tokenizer, file, models=[unknown]) as service:
        assert ask(service, query="tea", least=-1)["hits"]
    with searching(tiny_tokenizer, file, models=[unknown], spec=replace(SPEC, fingerprint="1" * 32)) as service:
        assert ask(service, query="tea")[:2] == (503, "unavailable")


def test_an_index_without_a_fingerprint_is_known_by_its_texts(tiny_tokenizer: Path, tmp_path: Path) -> None:
    file = tmp_path / "i.db"
    make(file, fake_model(tiny_tokenizer, fingerprint=None))
    with searching(tiny_tokenizer, file) as service:
        calls = []
        for _ in range(2):
            assert ask(service, query="tea", least=-1)["hits"]
            calls.append(service.loader.backend.calls)
        assert calls[0] > 1  # the model shows who it is
        assert calls[1] == calls[0] + 1  # once
    other = replace(SPEC, prompts={"query": "{text}", "document": f"{'q' * 31}{{text}}"})
    with searching(tiny_tokenizer, file, spec=other) as service:
        assert ask(service, query="tea", least=-1)[:2] == (503, "unavailable")
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE meta SET value = x'00' WHERE key = 'probes'")
        connection.commit()
    with searching(tiny_tokenizer, file) as service:
        assert ask(service, query="tea", least=-1)[:2] == (503, "unavailable")


def test_a_reader_never_writes_and_ends_in_time(file: Path, embedder: Embedder) -> None:
    with Index.open(file, embedder) as index:
        index.add([{"id": n, "text": f"Item {n} of many."} for n in range(300)])
        index.compact()
    Path(f"{file}-bits").unlink()
    before = file.read_bytes()
    question = Question(text="many items", top=10, filters=make_filters(where={"n": [*range(90)]}), least=-1)
    reader = Reader(file)
    vector = np.ones(64, np.float32)
    assert len(reader.search(vector, replace(question, filters=make_filters()))[0]) == 10
    reader.close()
    assert file.read_bytes() == before
    assert not Path(f"{file}-bits").exists()
    slow = Reader(file)
    slow._longest = -1.0
    with pytest.raises(SearchIndexError, match="took too long"):
        slow.search(vector, question)
    slow.close()


def test_no_more_searches_wait_than_may(service_with_index: Running, file: Path) -> None:
    index = service_with_index.process.indexes.find(None)
    gate, entered = threading.Event(), threading.Event()
    index.thread.submit(lambda: (entered.set(), gate.wait(20)))
    assert entered.wait(20)
    for _ in range(MOST_WAITING):
        index.thread.submit(lambda: None)
    status, code, _ = ask(service_with_index, query="tea")
    gate.set()
    assert (status, code) == (429, "overloaded")
    assert ask(service_with_index, query="tea", least=-1)["hits"]


def test_metadata_that_no_writer_of_ours_makes(service_with_index: Running, file: Path) -> None:
    for text, good in (('{"half": "\\ud800"}', True), ('{"number": NaN}', False), ("[" * 9999, False)):
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE source SET metadata = ?", (text,))
        found = ask(service_with_index, query="tea", least=-1)
        if good:
            assert found["hits"][0]["metadata"] == {"half": "\ud800"}
        else:
            assert found[:2] == (503, "unavailable")
