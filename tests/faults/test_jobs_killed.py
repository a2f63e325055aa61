"""Jobs killed at random points, and around every rename: taken up again, they end in the bytes of one left alone.

Alone, as two shards at a time, and with two workers, of which one, the driver, or the whole group is killed: several
times before a job is taken to its end. A handful of kills of each by default, as many as the time allows with
EDGE_EMBED_FAULTS, so many with EDGE_EMBED_KILLS; `pytest -s` shows how many there were, and of what.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_embed.jobs import run
from edge_embed.jobs.status import verify
from edge_embed_convert import convert

from support.forks import Forks
from support.jobs import digest, texts, write_jsonl
from support.kills import Kills, children

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
ROWS = 16
REJECTED = 3  # exit code of a job that is done: one of its rows has no text
RENAMES = 12  # of which a run is killed at one: some thirty in all, by several kills


@dataclass(frozen=True)
class Job:
    """The words that run a job, the hash of what comes of it left alone, and the seconds that takes."""

    words: list[str]
    expected: str
    usual: float


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    found = Forks()
    yield found
    found.close()


@pytest.fixture(scope="module")
def job(forks: Forks, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    place = tmp_path_factory.mktemp("killed")
    convert(checkpoint, place / "models", ["onnx:int8"], name="m")
    lines = write_jsonl(place / "in.jsonl", texts(400))
    with lines.open("a") as file:
        file.write('{"text": 1}\n')
    model = str(place / "models" / "m")
    run(lines, place / "whole", model=model, rows=ROWS, threads=1)
    words = ["run", str(lines), "--model", model, "--rows", str(ROWS), "--threads", "1", "--progress", "none", "--out"]
    began = time.monotonic()
    assert forks.wait(forks.begin([*words, str(place / "first")])) == REJECTED
    return Job(words, digest(place / "whole"), time.monotonic() - began)


def _end(forks: Forks, job: Job, out: Path) -> None:
    """Take the job to its end, and see that nothing is lost, nothing doubled and nothing left."""
    assert forks.wait(forks.begin([*job.words, str(out)])) == REJECTED
    assert digest(out) == job.expected
    assert (verify(out).rows, verify(out).vectors, verify(out).rejected) == (401, 400, 1)
    assert not [path for path in (out / "parts").iterdir() if path.name.startswith(".") or path.suffix == ".partial"]
    shutil.rmtree(out)


def test_alone(forks: Forks, job: Job, tmp_path: Path) -> None:
    with Kills("alone", 8, 0.04, job.usual) as kills:
        for turn in kills.rounds():
            for _ in range(turn.randint(3, 8)):
                child = forks.begin([*job.words, str(tmp_path / "out")])
                kills.pause(turn)
                os.kill(child, signal.SIGKILL)
                if not kills.ended("at any moment", forks.wait(child)):
                    break
            _end(forks, job, tmp_path / "out")


def test_around_a_rename(forks: Forks, job: Job, tmp_path: Path) -> None:
    with Kills("renames", 8, 0.03) as kills:
        for turn in kills.rounds():
            for _ in range(turn.randint(3, 8)):
                after = turn.random() < 0.5
                code = forks.wait(forks.begin([*job.words, str(tmp_path / "out")], turn.randrange(RENAMES), after))
                if not kills.ended("after one" if after else "before one", code):
                    assert code == REJECTED
                    break
            _end(forks, job, tmp_path / "out")


def test_two_shards_at_a_time(forks: Forks, job: Job, tmp_path: Path) -> None:
    with Kills("shards", 4, 0.04, job.usual) as kills:
        for turn in kills.rounds():
            for _ in range(turn.randint(2, 5)):
                shards = [forks.begin([*job.words, str(tmp_path / "out"), "--shard", f"{n}/2"]) for n in range(2)]
                kills.pause(turn)
                hit = turn.choice([shards[:1], shards[1:], shards])
                for child in hit:
                    os.kill(child, signal.SIGKILL)
                codes = {child: forks.wait(child) for child in shards}
                for child, code in codes.items():
                    assert code in ((-signal.SIGKILL, 0, REJECTED) if child in hit else (0, REJECTED))
                killed = [kills.ended("one of two" if len(hit) == 1 else "both", codes[child]) for child in hit]
                if not any(killed):
                    break
            _end(forks, job, tmp_path / "out")


def test_workers(forks: Forks, job: Job, tmp_path: Path) -> None:
    with Kills("workers", 6, 0.09) as kills:
        for turn in kills.rounds():
            for _ in range(turn.randint(2, 5)):
                driver = forks.begin([*job.words, str(tmp_path / "out"), "--processes", "2"])
                time.sleep(turn.uniform(0, 2))
                whom = turn.choice(["workers", "drivers", "groups"])
                if whom == "workers":
                    done = _kill_workers(kills, driver, [turn.uniform(0, 1.5) for _ in range(turn.randint(1, 6))])
                    code = forks.wait(driver)
                    assert code == REJECTED if done < 3 else code in (REJECTED, 1)  # three may fall on the same chunk
                else:
                    (os.kill if whom == "drivers" else os.killpg)(driver, signal.SIGKILL)
                    code = forks.wait(driver)
                    assert code in (-signal.SIGKILL, REJECTED)
                    kills.ended(whom, code)
                if code == REJECTED:
                    break
            _end(forks, job, tmp_path / "out")


def _kill_workers(kills: Kills, driver: int, pauses: list[float]) -> int:
    """Kill one of the driver's workers after another, with pauses, and return how many."""
    done = 0
    for pause in pauses:
        for worker in children(driver)[:1]:
            done += kills.hit("workers", worker)
        time.sleep(pause)
    return done
