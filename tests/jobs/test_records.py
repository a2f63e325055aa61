"""Lines and JSON lines, as files really are: marks, other encodings, odd objects, tables."""

from __future__ import annotations

import io

import pytest

from edge_embed import InputError
from edge_embed.jobs.records import Record, check_name, read_records


def read(data: bytes, jsonl: bool = False) -> list[Record]:
    file = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="surrogateescape")
    return list(read_records(file, jsonl))


def test_a_byte_order_mark_is_no_text() -> None:
    assert [one.input for one in read("\ufeffa\r\nb \ufeff\n".encode())] == ["a", "b \ufeff"]
    assert read('\ufeff{"text": "a"}\n'.encode(), True) == [Record("a")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"ok\nf\xfcr\n", r"line 2 is not UTF-8: it has the byte 0xfc after 1 characters; save the file as UTF-8"),
        ("ä\n".encode("utf-16"), "the file is UTF-16: save it as UTF-8"),
        ("ä\n".encode("utf-16-be").join([b"\xfe\xff", b""]), "the file is UTF-16"),
    ],
)
def test_another_encoding_is_named(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(data)


@pytest.mark.parametrize("line", [b"[" * 100_000, b"[1]", b'"a"', b"{}", b"{", b"null", b'{"text": null}'])
def test_json_that_is_no_record(line: bytes) -> None:
    with pytest.raises(InputError, match='line 2 is not a JSON object with a "text" or an "image"'):
        read(b'{"text": "a"}\n' + line, True)


def test_an_id_goes_with_its_record() -> None:
    data = b'{"id": 7, "text": "a", "more": 1}\n\n{"id": null, "image": "x.png"}\n{"text": "b"}\n'
    assert read(data, True) == [Record("a", {"id": 7}), Record({"image": "x.png"}, {"id": None}), Record("b")]


@pytest.mark.parametrize("name", ["d.csv", "D.TSV", "x/d.parquet", "d.json"])
def test_tables_are_no_lines(name: str) -> None:
    with pytest.raises(InputError, match=r"write its texts one a line, .* takes its lines as they are"):
        check_name(name)
    check_name("d.txt")
