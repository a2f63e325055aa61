"""Index: items, filters, other models, other processes, and that bits with int8 find what float32 finds."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search.made import open_new
from edge_embed import Embedder, Index, InputError, SearchIndexError
from edge_embed.search import frequency, query, schema, signs, words
from edge_embed.search.coding import Coded, code
from edge_embed.search.filters import Filters
from edge_embed.search.store import Passage, Source
from edge_embed.vectors import normalize

from support.search import fake_model

NOTES = [
    {"id": 1, "text": "ann drinks tea", "metadata": {"user": "ann", "year": 2024}, "time": "2026-01-05"},
    {"id": 2, "text": "the bus is late", "metadata": {"user": "bob", "tags": None}, "time": "2026-03-05"},
    {"id": "three", "text": "zebras sleep", "metadata": {"user": "bob", "a.b": True}, "time": "2026-05-05"},
]


@pytest.fixture
def index(model: Embedder, tmp_path: Path) -> Iterator[Index]:
    with Index.open(tmp_path / "i.db", model) as index:
        index.add(NOTES)
        yield index


def ids(hits: object) -> list[str | None]:
    return [hit.id for hit in hits]  # type: ignore[attr-defined]


def test_an_item_is_found_by_its_text(index: Index) -> None:
    (first, *_) = index.search("the bus is late", top=3, least=-1)
    assert (first.id, first.literal, first.text, first.metadata["user"]) == ("2", True, "the bus is late", "bob")
    assert first.place == "2"
    assert ids(index.search("zebras sleep", top=3, least=-1, hybrid=False))[0] == "three"
    assert index.status().items == index.status().passages == 3


def test_a_vector_with_a_text_is_what_the_text_is(index: Index, model: Embedder) -> None:
    vector = model.encode_query("the bus is late")
    with_words = index.search(vector, text="the bus is late", least=-1)
    assert with_words == index.search("the bus is late", least=-1)
    assert with_words[0].literal
    assert not index.search(vector, least=-1)[0].literal
    assert not index.search(vector, text="the bus is late", least=-1, hybrid=False)[0].literal
    with pytest.raises(InputError, match="text='bus' goes with a vector or an image"):
        index.search("the bus is late", text="bus")


def test_limits_hold_before_the_search(index: Index) -> None:
    def found(**limits: object) -> set[str | None]:
        return {*ids(index.search("ann drinks tea", least=-1, **limits))}  # type: ignore[arg-type]

    assert found() == {"1", "2", "three"}
    assert found(where={"user": "bob"}) == {"2", "three"}
    assert found(where={"user": ["ann", "bob"], "year": 2024}) == {"1"}
    assert found(where={"a.b": True}) == {"three"}
    assert found(where={"year": None}) == {"2", "three"}
    assert found(where={"user": []}) == set()
    assert found(since="2026-02-01") == {"2", "three"}
    assert found(since="2026-02-01", until="2026-04-01") == {"2"}
    assert found(paths=["*"]) == set()
    assert ids(index.search("ann", top=1, least=-1, where={"user": "bob"})) != ["1"]


def test_adding_again_replaces_and_removing_removes(index: Index) -> None:
    index.add([{"id": 2, "text": "a ship sails"}])
    assert ids(index.search("ship", least=-1))[0] == "2"
    assert not any("bus" in hit.text for hit in index.search("the bus is late", least=-1))
    assert index.remove([1, "nobody"]) == 1
    assert index.remove(where={"user": "bob"}) == 1
    assert ids(index.search("tea", least=-1)) == ["2"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"id": 1}, "item 1 is .* expected"),
        ({"id": 1, "text": "a", "more": 2}, "item 1 is .* expected"),
        ({"id": 1.5, "text": "a"}, "the id 1.5 is neither a text nor a whole number"),
        ({"id": "", "text": "a"}, "the id '' is neither"),
        ({"id": 1, "text": "a\0"}, "item 1: the text has a NUL"),
        ({"id": 1, "text": "a", "metadata": {"x": {1, 2}}}, "is no JSON object"),
        ({"id": 1, "text": "a", "metadata": {"x": float("nan")}}, "is no JSON object"),
        ({"id": 1, "text": "a", "time": "yesterday"}, "item 1: time='yesterday' is no date"),
    ],
)
def test_a_wrong_item_changes_nothing(index: Index, item: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        index.add([{"id": "new", "text": "a"}, item])
    assert index.status().items == 3


def test_wrong_questions(index: Index) -> None:
    for wrong, message in [
        ({"top": 0}, "top=0 must be from 1 to 1000"),
        ({"since": "soon"}, "since='soon' is no date"),
        ({"where": {"user": object()}}, "where: 'user' is compared with"),
        ({"where": {'a"': 1}}, "without quotation marks"),
    ]:
        with pytest.raises(InputError, match=message):
            index.search("a", **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"the query has shape \(3,\), expected finite numbers \(64,\)"):
        index.search(np.ones(3))
    for text in ("", " ", '"', "' OR 1 --", "* NEAR(", "\u0001", "AND", "a" * 5000):
        index.search(text, least=-1)


def test_nothing_fits(index: Index) -> None:
    """What is below the reference is left out, unless it has every word of the query."""
    high = 1.01
    assert index.search("the bus is late", least=high)[0].id == "2"  # literal
    assert ids(index.search("late bus", least=high)) == ["2"]
    assert index.search("late train", least=high) == []
    assert index.search("late bus", least=high, hybrid=False) == []


def test_another_model_is_refused(index: Index, tiny_tokenizer: Path, tmp_path: Path) -> None:
    path = tmp_path / "i.db"
    with pytest.raises(SearchIndexError, match="was made with fake, whose vectors are not comparable"):
        Index.open(path, fake_model(tiny_tokenizer, fingerprint="1" * 32))
    with Index.open(path, fake_model(tiny_tokenizer, fingerprint=None)) as same:
        assert same.search("zebras sleep", least=-1)[0].id == "three"
    other = fake_model(tiny_tokenizer, fingerprint=None, prompts={"document": "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq{text}"})
    with pytest.raises(SearchIndexError, match="the cosine of the same texts is"):
        Index.open(path, other)
    with pytest.raises(SearchIndexError, match="was trained for"):
        Index.open(path, fake_model(tiny_tokenizer, fingerprint=None, dim=32))
    with pytest.raises(InputError, match="has vectors of 64 numbers, not 32"):
        Index.open(path, fake_model(tiny_tokenizer), dims=32)
    with Index.open(path) as closed, pytest.raises(InputError, match="does not say how fake is opened"):
        closed.search("a")


def test_fewer_dimensions(model: Embedder) -> None:
    with Index.open(":memory:", model, dims=16) as index:
        index.add(NOTES)
        assert index.search("zebras sleep", least=-1)[0].id == "three"
        assert index.meta.dims == 16


def test_files_that_are_no_index(model: Embedder, tmp_path: Path) -> None:
    text, other, folder = tmp_path / "a.txt", tmp_path / "b.db", tmp_path / "folder"
    text.write_text("not a database, but a file of some length " * 30)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    folder.mkdir()
    with pytest.raises(SearchIndexError, match="is damaged, or no index: file is not a database"):
        Index.open(text, model)
    with pytest.raises(SearchIndexError, match="is a database of another program"):
        Index.open(other, model)
    with pytest.raises(InputError, match="it is a folder; name a file in it"):
        Index.open(folder, model)
    with pytest.raises(InputError, match="there is no index"):
        Index.open(tmp_path / "none.db", model, create=False)
    with pytest.raises(InputError, match="is a new index: say which model it is for"):
        Index.open(tmp_path / "none.db")
    assert text.read_text().startswith("not a database")


def test_an_index_of_another_version(index: Index, model: Embedder, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "i.db") as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(SearchIndexError, match="is an index of version 7, this release reads version 1"):
        Index.open(tmp_path / "i.db", model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("DELETE FROM meta WHERE key = 'dims'", "its meta has no dims"),
        ("UPDATE meta SET value = 'x' WHERE key = 'dims'", "its meta has no dims"),
        ("UPDATE meta SET value = -4 WHERE key = 'dims'", "its meta says -4 dimensions"),
        ("DROP TABLE meta", "it has other tables than an index; make the index anew"),
    ],
)
def test_a_damaged_meta(index: Index, model: Embedder, tmp_path: Path, change: str, message: str) -> None:
    with sqlite3.connect(tmp_path / "i.db") as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(SearchIndexError, match=message):
        Index.open(tmp_path / "i.db", model)


def test_damaged_rows_are_not_found_and_harm_no_others(index: Index, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "i.db") as connection:
        connection.execute("UPDATE vector SET codes = x'00', scale = 9e999 WHERE id = 1")
        connection.execute("UPDATE sign SET bits = x'ff' WHERE id = 1")
    connection.close()
    assert index.search("zebras sleep", least=-1)[0].id == "three"
    assert index.search("ann drinks tea", least=-1, hybrid=False)[0].id != "1"


def test_two_writers_take_turns(index: Index, model: Embedder, tmp_path: Path) -> None:
    with Index.open(tmp_path / "i.db", model) as other:
        other.add([{"id": "from the other", "text": "whales sing"}])
        assert index.search("whales sing", least=-1)[0].id == "from the other"
        index.remove(["from the other"])
        assert "from the other" not in ids(other.search("whales sing", least=-1))


def test_a_writer_that_holds_the_file(
    index: Index, model: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "WAIT", 0.05)
    holder = sqlite3.connect(tmp_path / "i.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with Index.open(tmp_path / "i.db", model) as other:
        assert other.search("zebras sleep", least=-1)[0].id == "three"  # readers go on
        with pytest.raises(SearchIndexError, match="another process has been writing"):
            other.add(NOTES)
    holder.execute("ROLLBACK")
    holder.close()


def test_a_full_disk(index: Index, tmp_path: Path) -> None:
    pages = index._database._connection.execute("PRAGMA page_count").fetchone()[0]
    index._database._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(InputError, match=r"cannot write .*: database or disk is full; what was written before is kept"):
        index.add([{"id": n, "text": "much " * 20} for n in range(100, 400)])
    assert index.status().items == 3
    assert index.search("zebras sleep", least=-1)[0].id == "three"


def put(index: Index, rows: np.ndarray, first: int = 0) -> None:  # type: ignore[type-arg]
    """Add vectors as items, past the model."""
    entries = [
        (Source(kind="item", key=str(n).encode(), time=0.0), [Passage(0, 1, None, f"n{n}")], [coded])
        for n, coded in enumerate(code(rows), first)
    ]
    index._database.put(entries)
    index._database.tidy()


def test_bits_and_codes_find_what_float32_finds_through_changes(tmp_path: Path, model: Embedder) -> None:
    """Beyond the tail, with deletions, compaction, a missing and a damaged derived file, and an older copy."""
    rng = np.random.default_rng(5)
    rows = normalize(rng.standard_normal((9000, 64), np.float32))
    alive = np.arange(len(rows)) < 3000
    with Index.open(tmp_path / "v.db", model) as index:

        def check(index: Index) -> None:
            for n in rng.choice(np.flatnonzero(alive), 4):
                query = normalize(rows[n][None] + 0.05 * rng.standard_normal((1, 64), np.float32))[0]
                found = ids(index.search(query, top=5, least=-1))
                assert found[0] == str(n) == str(np.where(alive, rows @ query, -2).argmax())
                assert all(alive[int(one)] for one in found if one is not None)

        put(index, rows[:3000])
        check(index)
        assert not signs.place_of(index._database.path).exists()
        put(index, rows[3000:8000], 3000)
        assert signs.place_of(index._database.path).exists()
        alive[:8000] = True
        check(index)
        put(index, rows[8000:], 8000)
        alive[8000:] = True
        check(index)
        gone = rng.choice(9000, 4500, replace=False)
        index.remove([int(n) for n in gone])
        alive[gone] = False
        check(index)
        place = signs.place_of(index._database.path)
        for spoil in (lambda data: data[:-9], lambda data: data[:700] + b"\xaa" + data[701:], lambda data: b""):
            place.write_bytes(spoil(place.read_bytes()))  # type: ignore[no-untyped-call]
            with Index.open(tmp_path / "v.db", model) as other:
                check(other)
            index.compact()
        check(index)
    place.unlink()
    with Index.open(tmp_path / "v.db", model) as index:
        check(index)
        assert place.exists()


def test_the_derived_file_is_carried_on_as_it_would_be_gathered_anew(tmp_path: Path) -> None:
    """Vectors of more than 64 bits, so that there are several columns; with removals from what is old and new."""
    rows = np.random.default_rng(7).standard_normal((9000, 200), np.float32)
    database = open_new(tmp_path / "v.db", 200)
    for start in (0, 4500, 4600):
        entries = [
            (Source(kind="item", key=str(n).encode(), time=0.0), [Passage(0, 1, None, "a")], [coded])
            for n, coded in enumerate(code(rows[start : start + 4500]), start)
        ]
        database.put(entries)
        database.tidy()
    database.remove(range(1, 9000, 2))
    database.tidy()
    carried = signs.place_of(database.path).read_bytes()
    database.compact()
    anew = signs.place_of(database.path).read_bytes()
    assert carried[signs.HEADER.size :] == anew[signs.HEADER.size :]
    assert len(anew) == signs.HEADER.size + 8 * (1 + 4) * 4500
    database.close()


def test_an_older_copy_beside_a_newer_derived_file(tmp_path: Path, model: Embedder) -> None:
    rng = np.random.default_rng(6)
    rows = normalize(rng.standard_normal((6000, 64), np.float32))
    with Index.open(tmp_path / "v.db", model) as index:
        put(index, rows[:5000])
        index.compact()
    older = (tmp_path / "v.db").read_bytes()
    with Index.open(tmp_path / "v.db", model) as index:
        put(index, rows[5000:], 5000)
        signs.place_of(index._database.path).unlink()
    with Index.open(tmp_path / "v.db", model) as index:
        index.search(rows[0], least=-1)  # writes a derived file of the same generation that covers all
    (tmp_path / "v.db").write_bytes(older)
    with Index.open(tmp_path / "v.db", model) as index:
        put(index, -rows[5000:], 5000)
        assert index.search(-rows[5500], top=1, least=-1)[0].id == "5500"


def test_other_processes_search_while_one_writes(tmp_path: Path, model: Embedder) -> None:
    """Each search sees whole transactions: passages of a batch are there together or not at all."""
    with Index.open(tmp_path / "i.db", model) as index:
        index.add(NOTES)
        reader = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
seen = set()
while True:
    connection.execute("BEGIN")
    rows = dict(connection.execute("SELECT source, count(*) FROM passage GROUP BY source"))
    counts = {connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("passage", "vector", "sign")}
    connection.execute("ROLLBACK")
    assert len(counts) == 1, counts
    seen |= counts
    if max(counts) >= 203:
        break
assert (max(seen) - 3) % 20 == 0
"""
        child = subprocess.Popen([sys.executable, "-c", reader, str(tmp_path / "i.db")])
        for turn in range(10):
            index.add([{"id": f"{turn} {n}", "text": f"text {n}"} for n in range(20)])
        assert child.wait(60) == 0


def test_export(index: Index, tmp_path: Path) -> None:
    assert index.export(tmp_path / "v.npy") == 3
    vectors = np.load(tmp_path / "v.npy")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(vectors, index.model.encode_document([note["text"] for note in NOTES]), atol=0.01)  # type: ignore[misc]
    with pytest.raises(InputError, match=r"cannot export to .*: name a file that ends in .parquet or .npy"):
        index.export(tmp_path / "v.csv")
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    assert index.export(tmp_path / "v.parquet") == 3
    table = pq.read_table(tmp_path / "v.parquet").to_pylist()
    assert [row["text"] for row in table] == [note["text"] for note in NOTES]
    np.testing.assert_allclose([row["embedding"] for row in table], vectors)


def test_codes_are_of_length_one() -> None:
    rows = np.array([[3, 4, 0, -1], [0, 0, 0, 0]], np.float32)
    (one, none) = code(rows)
    assert none == Coded(0.0, bytes(4), b"\0")
    assert abs(np.linalg.norm(np.frombuffer(one.codes, np.int8) * one.scale) - 1) < 1e-6


def test_few_passages_are_ranked_by_words_in_large_indexes(model: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frequency, "RANKED", 10)
    monkeypatch.setattr(frequency, "COUNTED", 60)
    with Index.open(":memory:", model) as index:
        index.add(
            {"id": n, "text": f"the {'odd' if n % 3 else 'third'} {'odd' if n % 5 else 'fifth'} word {n}"}
            for n in range(100)
        )
        connection = index._database._connection
        near = [id for (id,) in connection.execute("SELECT id FROM passage ORDER BY id LIMIT 7")]

        def found(query: str) -> list[int]:
            counts = frequency.count_words(connection, words.words_in(query))
            return [id - near[0] for id in words.by_words(connection, counts, 100, Filters(), near)]

        assert found("the 7 unknown") == [7]
        assert sorted(found("7 8")) == [7, 8]
        assert found("8 9 third") == [9, 8]  # the frequent one adds to the score
        assert sorted(found("third fifth")) == [*range(0, 100, 15)]  # both together
        assert found("the word") == [*range(7)]  # those nearest by meaning, since all have them
        assert found("odd fifth") == [5, 0, 1, 2, 3, 4, 6]
        assert found("unknown") == []


def test_a_large_index_takes_more_candidates(model: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many that all are, which then stand as float32 has them, but for int8's rounding."""
    rows = normalize(np.random.default_rng(8).standard_normal((3000, 64), np.float32))
    monkeypatch.setattr(query, "IDS", 700)
    monkeypatch.setattr(query, "CROWDED", 375)
    with Index.open(":memory:", model) as index:
        put(index, rows[:700])
        few = index.search(-rows[0], top=10, least=-1)
        put(index, rows[700:], 700)
        many = index.search(-rows[0], top=10, least=-1)
    assert ids(few)[0] == str((rows[:700] @ -rows[0]).argmax())
    best = np.argsort(rows @ rows[0])[:20]
    assert {*ids(many)} <= {str(n) for n in best}


def test_letters_are_found_wherever_they_end(model: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    with Index.open(":memory:", model) as index:
        index.add([{"id": n, "text": text} for n, text in enumerate(["on the island", "on the is", "off the isle"])])

        def found(query: str) -> set[str | None]:
            return {hit.id for hit in index.search(query, least=-1) if hit.literal}

        assert found("the is") == {"0", "1", "2"}
        monkeypatch.setattr(words, "SMALL", 3)
        assert found("the is") == {"1"}
        assert found("the isla") == {"0"}
        monkeypatch.setattr(words, "COUNTED", 1)
        assert found("on the") == {"0", "1"}  # in what is near
