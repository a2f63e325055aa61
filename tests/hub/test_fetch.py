"""Downloads that go wrong: every case ends in the right file or in a clear error, and never in a poisoned cache."""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_embed import CorruptModelError, ModelNotFoundError
from edge_embed.hub.cache import snapshot_of, wrong_files
from edge_embed.hub.entries import Entry, Snapshot
from edge_embed.hub.repository import Repository, fetch_files, fetch_metadata

from support.hub_server import GRAPHS, METADATA, Client, Fault, HubServer
from support.screen import on_terminal

KILLS = int(os.environ.get("EDGE_EMBED_KILLS", "6"))
DATA = "onnx/model.onnx_data"
LOADED = {name: GRAPHS[name] for name in (*METADATA, "onnx/model.onnx", DATA)}


def contents(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def partials(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/blobs/*.incomplete"))


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_a_terminal_sees_how_far_a_download_is(server: HubServer, tmp_path: Path) -> None:
    code = """
import sys
from edge_embed import progress
from edge_embed.cli.main import main
from edge_embed.progress import displays
progress.DELAY = displays.EVERY = 0
sys.exit(main(["pull", "user/model", "--cache-dir", sys.argv[1]]))
"""
    known = {"HF_ENDPOINT": server.url(), "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1", "NO_COLOR": "1"}
    status, seen = on_terminal([sys.executable, "-c", code, str(tmp_path / "cache")], variables=known, stdout=False)
    assert status == 0, seen
    pictures = seen.split("\r\x1b[K")
    for what in (f"downloading {DATA}", f"hashing {DATA}", "downloading tokenizer.json"):
        assert [picture for picture in pictures if picture.startswith(what)], seen
    assert [picture for picture in pictures if "25.0 / 25.0 kB" in picture]
    assert pictures[-1] == ""


@pytest.mark.parametrize("name", [DATA, "onnx/model.onnx", "tokenizer.json"])
@pytest.mark.parametrize(
    "faults", [["cut"], ["short"], ["503"], ["500", "503"], ["wrong"], ["html"], ["cut", "wrong"], ["429"]], ids=str
)
def test_what_passes_ends_in_the_right_file(
    name: str, faults: list[Fault], server: HubServer, client: Client, tmp_path: Path
) -> None:
    server.faults[name] = faults
    folder = client.resolve("user/model", tmp_path)
    assert contents(folder) == LOADED
    assert server.sent.count(name) == len(faults) + 1
    assert not partials(tmp_path)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("wrong", r"onnx/model.onnx_data: the hub sent other bytes, 25000 bytes, in place of a file of 25000 bytes"),
        ("html", r"onnx/model.onnx_data: the hub sent an HTML page, 71 bytes, in place of .* nothing was kept"),
        ("401", r"user/model was refused by the hub \(401\): HF_TOKEN is missing, wrong"),
        ("403", r"user/model was refused by the hub \(403\): HF_TOKEN is missing, wrong, expired, or lacks the right"),
        ("404", r"user/model could not be fetched from the hub: .*404"),
        ("503", r"user/model could not be fetched from the hub: .*503"),
        (
            "short",
            r"could not be fetched from the hub: onnx/model.onnx_data ended after 12500 of 25000 bytes",
        ),
    ],
)
def test_what_stays_is_an_error_and_leaves_the_cache_clean(
    fault: Fault, message: str, server: HubServer, client: Client, tmp_path: Path
) -> None:
    server.faults[DATA] = [fault] * 20
    expected = CorruptModelError if fault in ("wrong", "html") else ModelNotFoundError
    with pytest.raises(expected, match=message):
        client.resolve("user/model", tmp_path)
    with pytest.raises(ModelNotFoundError, match="user/model is not complete in the cache"):
        client.resolve("user/model", tmp_path, offline=True)
    server.faults.clear()
    assert contents(client.resolve("user/model", tmp_path)) == LOADED


@pytest.mark.parametrize(
    ("down", "message"),
    [
        ("html", "user/model got an answer that no hub gives .*: a login page on the way, or a wrong HF_ENDPOINT"),
        ("401", r"user/model was refused by the hub \(401\)"),
        ("403", r"user/model was refused by the hub \(403\)"),
        ("429", r"user/model was refused by the hub, which has had too many requests \(429\): wait some minutes"),
    ],
)
def test_a_hub_that_answers_nonsense_is_explained(
    down: str, message: str, server: HubServer, client: Client, tmp_path: Path
) -> None:
    server.down = down  # type: ignore[assignment]
    with pytest.raises(ModelNotFoundError, match=message):
        client.resolve("user/model", tmp_path)


def test_a_download_goes_on_where_it_stopped(server: HubServer, client: Client, tmp_path: Path) -> None:
    """The next process asks for the rest alone; a hub that sends all again does no harm."""
    server.faults[DATA] = ["cut", "403"]
    with pytest.raises(ModelNotFoundError, match=r"refused by the hub \(403\)"):
        client.resolve("user/model", tmp_path)
    (partial,) = partials(tmp_path)
    kept = partial.stat().st_size
    assert 0 < kept < len(GRAPHS[DATA])
    copy = Path(
        shutil.copytree(tmp_path / "models--user--model", tmp_path / "b" / "models--user--model", symlinks=True)
    )
    server.forget()
    assert contents(client.resolve("user/model", tmp_path)) == LOADED
    assert server.ranges == [f"bytes={kept}-"]
    server.faults[DATA] = ["whole"]
    assert contents(client.resolve("user/model", copy)) == LOADED


@pytest.mark.parametrize("spoil", [b"\0" * 1000, b"\0" * 100_000], ids=["wrong", "too long"])
def test_a_partial_file_that_is_damaged_is_thrown_away(
    spoil: bytes, server: HubServer, client: Client, tmp_path: Path
) -> None:
    server.faults[DATA] = ["403"]
    with pytest.raises(ModelNotFoundError):
        client.resolve("user/model", tmp_path)
    (partial,) = partials(tmp_path)
    partial.write_bytes(spoil)
    assert contents(client.resolve("user/model", tmp_path)) == LOADED


def test_the_licence_and_the_size_are_said_once(
    server: HubServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.licence = "cc-by-nc-4.0"
    for _ in range(2):
        with Client(server, tmp_path) as client:
            client.resolve("user/model")
    assert capfd.readouterr().err.count("user/model: downloading 0.0 MB; licence: cc-by-nc-4.0") == 1


def test_a_full_disk_is_noticed_before_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, and the small files that come before them; nothing is asked for."""
    entries = {name: Entry(name, size=15_000_000) for name in ("config.json", "tokenizer.json")}
    repository = Repository(snapshot=Snapshot("user/m", "0" * 40, tmp_path), entries=entries, fresh=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**7))  # type: ignore[attr-defined]
    for fetch in (fetch_metadata, lambda repository: fetch_files(repository, [*entries])):
        with pytest.raises(ModelNotFoundError, match=rf"m needs 30 MB more on disk and {tmp_path} has 10 MB free: fr"):
            fetch(repository)


def test_two_processes_make_one_download(server: HubServer, tmp_path: Path) -> None:
    server.bytes_per_second = 50_000  # so that half a second passes
    with Client(server, tmp_path / "a") as one, Client(server, tmp_path / "b") as two, ThreadPoolExecutor() as pool:
        folders = list(pool.map(lambda client: client.resolve("user/model", tmp_path / "cache"), (one, two)))
    assert folders[0] == folders[1]
    assert contents(folders[0]) == LOADED
    assert sorted(server.sent) == sorted(LOADED)


def test_a_process_that_is_killed_leaves_nothing_wrong(server: HubServer, tmp_path: Path) -> None:
    """SIGKILL at random points, `EDGE_EMBED_KILLS` times, then one run to the end."""
    body = random.Random(0).randbytes(400_000).hex()
    server.push("user/model", GRAPHS | {DATA: body})
    server.bytes_per_second = 1_000_000
    draw = random.Random(1)
    for _ in range(KILLS):
        client = Client(server, tmp_path / "home")
        assert client.process.stdin is not None
        client.process.stdin.write(f'["resolve", "user/model", null, "{tmp_path}", null]\n')
        client.process.stdin.flush()
        time.sleep(draw.uniform(0.3, 1.2))
        client.process.kill()
        client.process.communicate(timeout=30)
        for blob in tmp_path.glob("models--*/snapshots/*"):
            assert not wrong_files(blob)  # whatever has its name is right
    server.bytes_per_second = 0
    with Client(server, tmp_path / "home") as client:
        folder = client.resolve("user/model", tmp_path)
    assert contents(folder) == LOADED | {DATA: body}
    assert not partials(tmp_path)
    assert not wrong_files(folder)
    assert snapshot_of(folder).repo == "user/model"
