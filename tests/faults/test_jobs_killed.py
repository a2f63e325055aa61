"""Jobs killed at random points, and around every rename: taken up again, they end in the bytes of one left alone.

Alone, as two shards at a time, and with two workers, of which one, the driver, or the whole group is killed. A handful
of kills of each by default, as many as the time allows with EDGE_EMBED_FAULTS.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_embed.jobs import run
from edge_embed.jobs.status import verify
from edge_embed_convert import convert

from support.faults import long, seconds
from support.jobs import digest, texts, write_jsonl

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
KILLS = {"alone": 8, "renames": 8, "shards": 4, "workers": 3}
ROWS = 16
# Imports once. For each line of stdin, [arguments, rename, after]: a child in a group of its own that runs the job with
# frames after every batch, killed at the rename of that number, before or after it. Prints its number.
FORKS = """
import json, os, signal, sys
from edge_embed.cli.main import main
from edge_embed.jobs import compute
import edge_embed.jobs.running, edge_embed.backends.onnx.backend
compute.EVERY = 0.0

def kill_at(number, after):
    turns, sound = [], os.replace
    def rename(*arguments, **named):
        turns.append(None)
        if len(turns) == number + 1 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        sound(*arguments, **named)
        if len(turns) == number + 1:
            os.kill(os.getpid(), signal.SIGKILL)
    os.replace = rename

print("ready", flush=True)
for line in sys.stdin:
    what, *rest = json.loads(line)
    if what == "wait":
        print(os.waitstatus_to_exitcode(os.waitpid(rest[0], 0)[1]), flush=True)
        continue
    words, number, after = rest
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(2, 1)
        if number is not None:
            kill_at(number, after)
        os._exit(main(words))
    print(child, flush=True)
"""


class Forks:
    """A process that has imported everything, and forks a child for each run of a job."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line
        return line

    def _ask(self, *what: object) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return int(self._read())

    def begin(self, words: list[str], rename: int | None = None, after: bool = False) -> int:
        """Start a run, and return its process, which is its group as well."""
        return self._ask("run", words, rename, after)

    def wait(self, process: int) -> int:
        """Return a run's exit code, or the signal that ended it, below 0."""
        return self._ask("wait", process)

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    found = Forks()
    yield found
    found.close()


@pytest.fixture(scope="module")
def job(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], str]:
    """Return the words that run a job, and the hash of what comes of it."""
    place = tmp_path_factory.mktemp("killed")
    convert(checkpoint, place / "models", ["onnx:int8"], name="m")
    lines = write_jsonl(place / "in.jsonl", texts(400))
    with lines.open("a") as file:
        file.write('{"text": 1}\n')
    model = str(place / "models" / "m")
    run(lines, place / "whole", model=model, rows=ROWS, threads=1)
    words = [str(lines), "--model", model, "--rows", str(ROWS), "--threads", "1", "--progress", "none"]
    return words, digest(place / "whole")


def _turns(kind: str, share: float) -> Iterator[random.Random]:
    """Yield a source of chance for each kill."""
    end, number = time.monotonic() + seconds(share), 0
    while time.monotonic() < end if long() else number < KILLS[kind]:
        yield random.Random(time.time_ns() if long() else number)
        number += 1


def _ended(forks: Forks, out: Path, words: list[str], expected: str, told: Any) -> None:
    """Take the job up, and see that nothing is lost, nothing doubled and nothing left."""
    assert forks.wait(forks.begin(["run", *words, "--out", str(out)])) == 3, told
    assert digest(out) == expected, told
    assert (verify(out).rows, verify(out).vectors, verify(out).rejected) == (401, 400, 1)
    assert not [path for path in (out / "parts").iterdir() if path.name.startswith(".") or path.suffix == ".partial"]
    shutil.rmtree(out)


def test_alone(forks: Forks, job: tuple[list[str], str], tmp_path: Path) -> None:
    words, expected = job
    began = time.monotonic()
    assert forks.wait(forks.begin(["run", *words, "--out", str(tmp_path / "first")])) == 3
    usual = time.monotonic() - began
    for turn in _turns("alone", 0.04):
        for _ in range(turn.randint(1, 3)):
            child = forks.begin(["run", *words, "--out", str(tmp_path / "out")])
            time.sleep(turn.uniform(0, usual))
            os.kill(child, signal.SIGKILL)
            forks.wait(child)
        _ended(forks, tmp_path / "out", words, expected, turn)


def test_around_a_rename(forks: Forks, job: tuple[list[str], str], tmp_path: Path) -> None:
    words, expected = job
    for turn in _turns("renames", 0.03):
        number, after = turn.randrange(30), turn.random() < 0.5
        child = forks.begin(["run", *words, "--out", str(tmp_path / "out")], number, after)
        code = forks.wait(child)
        assert code in (-signal.SIGKILL, 3)
        _ended(forks, tmp_path / "out", words, expected, (number, after))


def test_two_shards_at_a_time(forks: Forks, job: tuple[list[str], str], tmp_path: Path) -> None:
    words, expected = job
    for turn in _turns("shards", 0.04):
        out = ["--out", str(tmp_path / "out")]
        shards = [forks.begin(["run", *words, *out, "--shard", f"{n}/2"]) for n in range(2)]
        time.sleep(turn.uniform(0, 1))
        killed = turn.choice([shards[:1], shards[1:], shards])
        for child in killed:
            os.kill(child, signal.SIGKILL)
        for child in shards:
            assert forks.wait(child) in (-signal.SIGKILL, 0, 3)
        _ended(forks, tmp_path / "out", words, expected, turn)


def test_workers(forks: Forks, job: tuple[list[str], str], tmp_path: Path) -> None:
    words, expected = job
    for turn in _turns("workers", 0.09):
        driver = forks.begin(["run", *words, "--out", str(tmp_path / "out"), "--processes", "2"])
        _sleep_until(tmp_path / "out" / "job.json")
        time.sleep(turn.uniform(0, 3))
        whom = turn.choice(["driver", "worker", "group"])
        if whom == "worker":
            for worker in _children(driver)[:1]:
                os.kill(worker, signal.SIGKILL)
        elif whom == "driver":
            os.kill(driver, signal.SIGKILL)
        else:
            os.killpg(driver, signal.SIGKILL)
        code = forks.wait(driver)
        assert code == 3 if whom == "worker" else code in (-signal.SIGKILL, 3), whom
        _ended(forks, tmp_path / "out", words, expected, whom)


def _sleep_until(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)


def _children(process: int) -> list[int]:
    """List the processes that one has started; none where the system does not tell."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found += [int(path.parent.name)] if int(fields[1]) == process else []
    return found
