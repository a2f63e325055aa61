"""Jobs on Ray whose actors, driver, or everything is killed: taken up again, they end in the bytes of one left alone.

Actors and drivers are killed on a cluster that outlives them; a group is a driver with a cluster of its own. A handful
of kills by default, as many as the time allows with EDGE_EMBED_FAULTS, so many with EDGE_EMBED_KILLS; `pytest -s` shows
how many there were, and of what.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_embed.jobs import run

from support import static_model
from support.jobs import digest, texts, write_jsonl
from support.kills import Kills, descendants
from support.ray_cluster import RayCluster, alone, end_all, ray_cluster

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray takes half a gigabyte: pip install 'edge-embed[ray]' runs this",
)
ROWS = 2
LONG = 120.0  # seconds in which a driver does something that can be seen, on a busy machine too
DRIVER = """
import sys
from edge_embed.jobs import run

if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], model=sys.argv[3], rows=int(sys.argv[4]), engine="ray", processes=2)
"""


@dataclass(frozen=True)
class Job:
    """A job on a cluster of this machine, and the hash of what comes of it."""

    lines: Path
    model: str
    expected: str

    def begin(self, out: Path, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a driver, in a group of its own, on the cluster that variables name."""
        words = [sys.executable, "-c", DRIVER, str(self.lines), str(out), self.model, str(ROWS)]
        with _said(out).open("wb") as said:
            return subprocess.Popen(
                words,
                start_new_session=True,
                env={**os.environ, **variables},
                stdout=subprocess.DEVNULL,
                stderr=said,
            )

    def end(self, driver: subprocess.Popen[bytes], out: Path) -> None:
        """See that a driver comes to its end, and that all it left is as it should be."""
        assert driver.wait() == 0, _said(out).read_text()[-2000:]
        assert digest(out) == self.expected
        shutil.rmtree(out)


def _said(out: Path) -> Path:
    """Return the file of what the last driver said of its errors."""
    return out.with_name(f"{out.name}.err")


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder for a cluster's files, whose path is short enough for its sockets."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as found:
        yield Path(found)


@pytest.fixture
def cluster(place: Path) -> Iterator[RayCluster]:
    with ray_cluster(place) as found:
        yield found


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    place = tmp_path_factory.mktemp("cluster")
    model = str(static_model.make(place / "static"))
    lines = write_jsonl(place / "in.jsonl", texts(2000))
    run(lines, place / "whole", model=model, rows=ROWS)
    return Job(lines, model, digest(place / "whole"))


def test_actors(job: Job, cluster: RayCluster, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Kills("actors of Ray", 3, 0.2) as kills:
        for turn in kills.rounds():
            driver = job.begin(out, cluster.variables)
            while driver.poll() is None and not kills.enough:
                _sleep_until_more(driver, out, turn.randint(1, 30))
                if actors := cluster.actors():
                    kills.hit("actors", turn.choice(actors))
            job.end(driver, out)


def test_drivers(job: Job, cluster: RayCluster, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Kills("drivers of Ray", 2, 0.1) as kills:
        for turn in kills.rounds():
            for _ in range(turn.randint(2, 6)):
                driver = job.begin(out, cluster.variables)
                _sleep_until_more(driver, out, turn.randint(1, 200))
                os.kill(driver.pid, signal.SIGKILL)
                if not kills.ended("drivers", driver.wait()):
                    break
            driver = job.begin(out, cluster.variables)  # while actors of the one before may still be at work
            driver.wait()
            cluster.wait_until_idle()
            job.end(driver, out)


def test_groups(job: Job, place: Path, tmp_path: Path) -> None:
    out, variables = tmp_path / "out", alone(place)
    with Kills("groups of Ray", 1, 0.1) as kills:
        for turn in kills.rounds():
            for _ in range(turn.randint(2, 6)):
                driver = job.begin(out, variables)
                _sleep_until_more(driver, out, turn.randint(1, 200))
                started = descendants(driver.pid)
                os.killpg(driver.pid, signal.SIGKILL)
                killed = kills.ended("groups", driver.wait())
                end_all(started)
                if not killed:
                    break
            job.end(job.begin(out, variables), out)


def _sleep_until_more(driver: subprocess.Popen[bytes], out: Path, more: int) -> None:
    """Wait until so many parts have been added: what is killed while it starts, again and again, does nothing."""
    goal, end = _parts(out) + more, time.monotonic() + LONG
    while driver.poll() is None and _parts(out) < goal and time.monotonic() < end:
        time.sleep(0.02)


def _parts(out: Path) -> int:
    return len(list(out.glob("parts/*.npy")))
