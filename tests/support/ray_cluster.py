"""A cluster of Ray on this machine that outlives its drivers, as real ones do: a killed driver costs no start of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .kills import command, descendants, is_alive

WAIT = 120.0  # seconds, on a busy machine too
CPUS = 3  # as Ray counts: two actors, and one for the tasks that hand them chunks


@dataclass(frozen=True)
class RayCluster:
    """The process that holds a cluster, and the variables by which drivers find it."""

    process: int
    variables: dict[str, str]

    def actors(self) -> list[int]:
        """List the actors of all drivers."""
        return [one for one in descendants(self.process) if command(one).startswith("ray::MapWorker")]

    def wait_until_idle(self) -> None:
        """Wait until Ray has ended the actors of drivers that are gone."""
        end = time.monotonic() + WAIT
        while self.actors() and time.monotonic() < end:
            time.sleep(0.05)
        assert not self.actors(), "Ray keeps actors of a driver that is gone"


def alone(place: Path) -> dict[str, str]:
    """Return variables by which a driver begins a cluster of its own, whose files lie in a folder with a short path."""
    return {
        "RAY_ADDRESS": "local",
        "RAY_TMPDIR": str(place),
        "PYTHONPATH": os.pathsep.join(sys.path),  # of actors, too
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else Ray makes one in the home of whoever runs the tests
    }


@contextmanager
def ray_cluster(place: Path) -> Iterator[RayCluster]:
    """Start a cluster whose files lie in a folder, and end its processes, and no others, with the block."""
    variables, port = alone(place), _free_port()
    words = ["start", "--head", "--block", f"--port={port}", f"--num-cpus={CPUS}", f"--temp-dir={place}"]
    words += ["--object-store-memory=100000000", "--include-dashboard=false"]
    said = place / "head.out"
    with said.open("wb") as out:
        head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *words],
            start_new_session=True,
            env={**os.environ, **variables, "RAY_ADDRESS": ""},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + WAIT
        while b"--block" not in said.read_bytes():  # said when everything runs
            assert head.poll() is None, said.read_text()
            assert time.monotonic() < end, said.read_text()
            time.sleep(0.05)
        yield RayCluster(head.pid, {**variables, "RAY_ADDRESS": f"127.0.0.1:{port}"})
    finally:
        started = descendants(head.pid)
        head.kill()
        head.wait()
        end_all(started)


def end_all(processes: Iterable[int]) -> None:
    """End what is left of a cluster whose processes were listed before, so that it takes nothing of the next one's."""
    for process in processes:
        if is_alive(process) and "ray" in command(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
