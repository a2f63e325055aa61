"""What no job is begun for, which job is not taken up, and which rows are rejected or cut."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from edge_embed import InputError, TruncationWarning
from edge_embed.cli.main import main
from edge_embed.jobs import run
from edge_embed.jobs.settings import parse_shard, parse_share

from support.jobs import texts, write_jsonl

LINES = texts(60)


def test_what_cannot_be_run(quick: str, lines: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"processes": 0}, "must be at least 1"),
        ({"shard": (2, 2)}, "choose from 0/2 to 1/2"),
        ({"overlap": 3}, "needs chunk_tokens"),
        ({"chunk_tokens": 3, "overlap": 3}, "must be less"),
        ({"format": "xml"}, "choose from"),
        ({"rows": 0}, "must be at least 1"),
        ({"batch_tokens": 0}, "must be at least 1"),
        ({"workload": "night"}, "unknown workload"),
        ({"battery_below": -1}, "battery_below=-1 must be from 0"),
        ({"truncate_dim": 99}, "99"),
    ):
        with pytest.raises(InputError, match=message):
            run(lines, tmp_path / "out", model=quick, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="matches no file"):
        run(f"{tmp_path}/*.nothing", tmp_path / "out", model=quick)
    with pytest.raises(InputError, match="no such file"):
        run(tmp_path / "nothing.txt", tmp_path / "out", model=quick)
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InputError, match=r"write its objects one a line"):
        run(tmp_path / "a.json", tmp_path / "out", model=quick)
    (tmp_path / "wide.txt").write_bytes("tea".encode("utf-16"))
    with pytest.raises(InputError, match="is UTF-16"):
        run(tmp_path / "wide.txt", tmp_path / "out", model=quick)
    with gzip.open(tmp_path / "cut.txt.gz", "wt") as file:
        file.writelines(f"{text}\n" for text in LINES)
    data = (tmp_path / "cut.txt.gz").read_bytes()
    (tmp_path / "cut.txt.gz").write_bytes(data[:-20])
    with pytest.raises(InputError, match="is cut short or damaged"):
        run(tmp_path / "cut.txt.gz", tmp_path / "out", model=quick)
    with pytest.raises(InputError, match="no inputs, and no job"):
        run([], tmp_path / "out", model=quick)
    assert main(["run", "x", "--model", quick]) == 1
    assert not (tmp_path / "out" / "job.json").exists()


def test_another_job_is_refused(quick: str, lines: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(lines, out, model=quick)
    with pytest.raises(InputError, match=r"holds another job.*\n  options.dim: None then, 4 now"):
        run(lines, out, model=quick, truncate_dim=4)
    other = write_jsonl(tmp_path / "other.jsonl", LINES)
    with pytest.raises(InputError, match=r"inputs: 1 then, 2 now"):
        run([lines, other], out, model=quick)
    lines.write_text(lines.read_text().replace("tea", "pea"))
    with pytest.raises(InputError, match=r"inputs\[in.jsonl\].sha256"):
        run(lines, out, model=quick)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").touch()
    with pytest.raises(InputError, match=r"holds 'thesis.doc' and no job"):
        run(lines, tmp_path / "full", model=quick)


def test_words_of_the_command_line() -> None:
    assert parse_shard("3/8") == (3, 8)
    assert parse_share("1%") == 0.01
    assert parse_share("20") == 20
    for word in ("a", "1/0", "-1/2"):
        with pytest.raises(InputError, match="expected I/N"):
            parse_shard(word)
    for word in ("x", "101%", "1.5"):
        with pytest.raises(InputError, match="a number of rows, or a share"):
            parse_share(word)


def test_rejected_rows(quick: str, tmp_path: Path) -> None:
    lines = [
        *(b'{"text": "good", "id": 1}', b'{"text": 5, "id": [2]}', b'{"id": 3}', b"[1]", b'{"text": "caf\xe9"}'),
        *(b'{"text": "lone \\ud800"}', b'{"text": "a\\u0000b"}', b"{", b'{"text": "' + b"x" * (17 << 20) + b'"}'),
        b'{"text": "last"}',
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    done = run(tmp_path / "in.jsonl", tmp_path / "out", model=quick)
    assert (done.vectors, done.rejected) == (2, 8)
    (path,) = (tmp_path / "out" / "parts").glob("*.rejected.jsonl")
    told = [json.loads(line) for line in path.read_text().splitlines()]
    reasons = ["not-text", "missing", "json", "encoding", "refused", "refused", "json", "too-long"]
    assert [one["reason"] for one in told] == reasons
    assert [one["line"] for one in told] == [2, 3, 4, 5, 6, 7, 8, 9]
    data = b"\n".join(lines)
    assert all(data[one["offset"] :].startswith(lines[one["line"] - 1]) for one in told)
    assert "input" not in told[0]
    assert main(["run", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out2"), "--model", quick]) == 3
    with pytest.raises(InputError, match="8 rows of 10 were rejected, more than the 2 that are allowed"):
        run(tmp_path / "in.jsonl", tmp_path / "out3", model=quick, max_rejected=2)
    run(tmp_path / "in.jsonl", tmp_path / "out4", model=quick, with_text=True)
    (path,) = (tmp_path / "out4" / "parts").glob("*.rejected.jsonl")
    assert json.loads(path.read_text().splitlines()[4])["input"] == "lone \ud800"


def test_cut_texts_are_told(converted: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "in.jsonl", ["tea " * 300, "short"])
    with pytest.warns(TruncationWarning, match="1 texts were cut to 256 tokens"):
        run(path, tmp_path / "out", model=f"{converted}:int8")
    done = run(path, tmp_path / "strict", model=f"{converted}:int8", truncation="error")
    assert done.rejected == 1
    (told,) = (tmp_path / "strict" / "parts").glob("*.rejected.jsonl")
    row = json.loads(told.read_text())
    assert (row["reason"], row["message"][:14]) == ("too-many-tokens", "has 302 tokens")
    with pytest.raises(
        InputError, match="takes 256 tokens, of which the prompt and its own take 2: ask for 254 or less"
    ):
        run(path, tmp_path / "long", model=f"{converted}:int8", chunk_tokens=255)
