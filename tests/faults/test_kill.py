"""Kills at random points and around every rename: the next run is right, nothing half-made is served, nothing is lost.

A conversion over an older one, a first load that converts, and a download; 10 kills of each by default, as many as the
time allows with EDGE_EMBED_FAULTS.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_embed.hub.checksums import named_sums, wrong_sums
from edge_embed_convert import convert
from edge_embed_convert.publishing.staging import SUFFIX

from support.faults import long, seconds
from support.hub_server import HubServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
KILLS = 10
# Imports once. For each line of stdin, [what, seconds, rename, after]: a child that does it, killed after so long, or
# at the rename of that number, before or after it; None: not killed so. Prints the child's status.
FORKS = """
import json, os, signal, sys, time
from pathlib import Path
import edge_embed_convert.__main__ as command
import edge_embed.backends.onnx.backend
from edge_embed import Embedder
from edge_embed.hub import fetch

def kill_at(number, after):
    turns = []
    def killing(sound):
        def rename(*arguments, **named):
            turns.append(None)
            mine = len(turns) == number + 1
            if mine and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            found = sound(*arguments, **named)
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return found
        return rename
    os.rename, os.replace = killing(os.rename), killing(os.replace)

def do(what, *words):
    if what == "convert":
        source, out = words
        sys.exit(command.main([source, "--out", out, "--to", "onnx:float32,onnx:int8", "--name", "m", "--overwrite"]))
    with Embedder(words[0], cache_dir=words[1], threads=1) as model:
        assert model.encode("a text").shape == (32,)

print("ready", flush=True)
for line in sys.stdin:
    what, wait, number, after = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        if number is not None:
            kill_at(number, after)
        do(*what)
        sys.exit(0)
    if wait is not None:
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """A process that has imported everything, and forks a child for each run."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", **environment},
        )
        self._read("ready")

    def _read(self, expected: str = "") -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line
        assert expected in line
        return line

    def run(self, *what: object, wait: float | None = None, rename: int | None = None, after: bool = False) -> bool:
        """Run until killed or done; return whether it was killed before its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([[str(word) for word in what], wait, rename, after]) + "\n")
        self._process.stdin.flush()
        status = int(self._read())
        assert status in (0, -9)
        return status == -9

    def time(self, *what: object) -> float:
        """Return the seconds of a whole run."""
        start = time.monotonic()
        assert not self.run(*what)
        return time.monotonic() - start

    def close(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.stdout.close()  # type: ignore[union-attr]
        self._process.wait()


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    found = Forks()
    yield found
    found.close()


@pytest.fixture(scope="module")
def older(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a conversion of before: of one level, so that it can be told from the new one."""
    return convert(checkpoint, tmp_path_factory.mktemp("older"), ["onnx:float32"], name="m")[0]


def draws(share: float) -> Iterator[float]:
    """Yield numbers in [0, 1): the same ones by default, others in a long run until its time is over."""
    draw, end = random.Random(time.time_ns() if long() else 0), time.monotonic() + seconds(share)
    done = 0
    while done < KILLS or (long() and time.monotonic() < end):
        yield draw.random()
        done += 1
    print(f"{done} kills")


def hidden(folder: Path) -> list[Path]:
    return [*folder.rglob(f".*{SUFFIX}")]


def check_whole(folder: Path) -> None:
    """Compare every file of a folder with its hash; all of them are there."""
    assert all((folder / name).is_file() for name in named_sums(folder))
    count, wrong = wrong_sums(folder)
    assert count
    assert not wrong


def test_a_conversion_over_an_older_one(forks: Forks, checkpoint: Path, older: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(older, out / "m")
    whole, cut_short = forks.time("convert", checkpoint, tmp_path / "other"), 0
    for draw in draws(1 / 12):
        forks.run("convert", checkpoint, out, wait=draw * whole)
        assert len(hidden(out)) <= 1  # its own: those of the runs before are gone
        cut_short += len(hidden(out))
        check_whole(out / "m")
    assert cut_short
    assert not forks.run("convert", checkpoint, out)
    check_whole(out / "m")
    assert [path.name for path in out.iterdir()] == ["m"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("rename", range(4))
def test_a_kill_at_each_rename_of_a_conversion(
    forks: Forks, checkpoint: Path, older: Path, tmp_path: Path, rename: int, after: bool
) -> None:
    """Old away, new in its place, old no longer to be put back; a fourth there is not."""
    out = tmp_path / "out"
    shutil.copytree(older, out / "m")
    assert forks.run("convert", checkpoint, out, rename=rename, after=after) == (rename < 3)
    models = [out / "m", *out.glob(f".*{SUFFIX}/older/m")]
    sound = [path for path in models if path.exists()]
    assert sound  # in its place, or where the next run finds it
    for path in sound:
        check_whole(path)
    assert not forks.run("convert", checkpoint, out)
    check_whole(out / "m")
    assert [path.name for path in out.iterdir()] == ["m"]


def test_a_first_load_that_converts(forks: Forks, source: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    whole, cut_short = forks.time("load", f"{source}:int8", tmp_path / "other"), 0
    config = json.loads((source / "config.json").read_text())
    for turn, draw in enumerate(draws(1 / 12)):
        # Another checkpoint: another folder in the cache.
        (source / "config.json").write_text(json.dumps(config | {"_name_or_path": str(turn)}))
        forks.run("load", f"{source}:int8", cache, wait=draw * whole)
        assert len(hidden(cache)) <= 1
        cut_short += len(hidden(cache))
        for folder in cache.glob("converted/*/[!.]*/"):
            check_whole(folder)
        if turn % 3 == 0:
            assert not forks.run("load", f"{source}:int8", cache)
    assert cut_short
    assert not forks.run("load", f"{source}:int8", cache)
    assert not hidden(cache)


@pytest.fixture(scope="module")
def hub(older: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        files = {path.relative_to(older).as_posix(): path.read_bytes() for path in older.rglob("*") if path.is_file()}
        server.push("user/m", files)
        yield server


@pytest.fixture(scope="module")
def downloads(hub: HubServer) -> Iterator[Forks]:
    found = Forks(HF_ENDPOINT=hub.url(), HF_HUB_DISABLE_PROGRESS_BARS="1")
    yield found
    found.close()


def check_downloads(cache: Path) -> None:
    """Whatever stands under its name is as it was pushed: its own hash, or that of its link's target."""
    for folder in cache.glob("models--*/snapshots/*"):
        names = [path for path in folder.rglob("*") if path.is_symlink()]
        assert all(path.exists() for path in names)
        if (folder / "edge_embed.json").exists() and (folder / "SHA256SUMS").exists():
            assert not wrong_sums(folder)[1]


def test_a_download(hub: HubServer, downloads: Forks, older: Path, tmp_path: Path) -> None:
    hub.bytes_per_second = 0
    whole = downloads.time("load", "user/m", tmp_path / "other")
    cut_short = 0
    for turn, draw in enumerate(draws(1 / 12)):
        cache = tmp_path / f"cache{turn // 4}"  # four kills of each download, which goes on where it was
        cut_short += downloads.run("load", "user/m", cache, wait=draw * whole)
        check_downloads(cache)
        if turn % 4 == 3:
            assert not downloads.run("load", "user/m", cache)
            check_downloads(cache)
    assert cut_short


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_each_rename_of_a_download(downloads: Forks, tmp_path: Path, after: bool) -> None:
    killed, rename = True, 0
    while killed:
        cache = tmp_path / str(rename)
        killed = downloads.run("load", "user/m", cache, rename=rename, after=after)
        check_downloads(cache)
        assert not downloads.run("load", "user/m", cache)
        check_downloads(cache)
        rename += 1
    assert rename > 2
