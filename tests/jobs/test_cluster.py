"""Jobs on Ray: the same bytes, whatever dies meanwhile; and what can be told of them without Ray."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_embed.errors import BackendError, InputError, MissingDependencyError
from edge_embed.jobs import run
from edge_embed.jobs.cluster import Work, _placed, run_on_ray
from edge_embed.jobs.settings import Execution
from edge_embed.jobs.status import verify

from support.jobs import digest, texts, write_jsonl

RAY = importlib.util.find_spec("ray") is not None
with_ray = pytest.mark.skipif(not RAY, reason="Ray takes half a gigabyte: pip install 'edge-embed[ray]' runs this")


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "in.jsonl", texts(80))


@pytest.mark.parametrize(
    ("processes", "chunks", "cpus", "each", "threads"),
    [(2, 9, 2, 0.5, 1), (1, 9, 2, 1, 1), (3, 9, 16, 5, 5), (8, 3, 16, 5, 5), (4, 9, 4, 0.75, 1), (3, 9, 2, 0.33, 1)],
)
def test_a_pool_leaves_a_cpu(processes: int, chunks: int, cpus: float, each: float, threads: int) -> None:
    placed = _placed(Execution(processes=processes, engine="ray"), cpus, chunks)
    assert (placed.cpus, placed.threads, placed.processes) == (each, threads, min(processes, chunks))
    assert placed.cpus is not None
    assert placed.cpus * placed.processes < cpus


def test_a_pool_that_leaves_none_is_refused() -> None:
    with pytest.raises(BackendError, match="leave none of the cluster's 2"):
        _placed(Execution(processes=2, cpus=1, engine="ray"), 2, 9)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"engine": "dask"}, "unknown engine 'dask'"),
        ({"cpus": 1}, "engine='ray'"),
        ({"engine": "ray", "cpus": 1.5}, "cpus=1.5 must be a share of one, or a whole number"),
        ({"engine": "ray", "gpus": -1}, "gpus=-1"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        Execution(**values).check()  # type: ignore[arg-type]


def test_an_actor_computes_what_is_computed_here(quick: str, lines: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(lines, out, model=quick, rows=16)
    before = digest(out)
    part = out / "parts" / "part-00000002.npy"
    part.unlink()
    work = Work(str(out), Execution(model=quick, inputs=(lines,)).to_json())
    said = work({"chunk": [2]})
    work.close()
    assert said["chunk"] == [2]
    assert json.loads(said["said"][0])["outcome"]["vectors"] == 16
    assert digest(out) == before


def test_an_actor_that_cannot_begin_says_why(quick: str, lines: Path, tmp_path: Path) -> None:
    work = Work(str(tmp_path / "none"), Execution(model=quick).to_json())
    assert json.loads(work({"chunk": [0]})["said"][0])["error"]["kind"] == "InputError"


@pytest.mark.skipif(RAY, reason="Ray is installed")
def test_without_ray_it_is_told_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"\[ray\]"):
        next(iter(run_on_ray(tmp_path, [], Execution(engine="ray"))))


@pytest.fixture
def one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep Ray's cluster to this machine and small."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@with_ray
@pytest.mark.usefixtures("one_machine")
@pytest.mark.filterwarnings("ignore")
def test_the_same_bytes_on_a_cluster(quick: str, lines: Path, tmp_path: Path) -> None:
    run(lines, tmp_path / "here", model=quick, rows=8)
    done = run(lines, tmp_path / "there", model=quick, rows=8, engine="ray", processes=2)
    assert (done.rows, done.vectors, done.missing) == (80, 80, 0)
    assert done.computed > 0
    assert digest(tmp_path / "there") == digest(tmp_path / "here")


KILLED = """
import sys
from pathlib import Path
from edge_embed.jobs import compute, run

if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], model=sys.argv[3], rows=2, engine="ray", processes=2)
"""


@with_ray
@pytest.mark.usefixtures("one_machine")
def test_a_killed_driver_and_its_cluster_go_on(quick: str, lines: Path, tmp_path: Path) -> None:
    run(lines, tmp_path / "here", model=quick, rows=2)
    out = tmp_path / "there"
    command = [sys.executable, "-c", KILLED, str(lines), str(out), quick]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(out.glob("parts/*.npy"))) < 5:
        time.sleep(0.02)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    assert digest(out) == digest(tmp_path / "here")
    found = verify(out)
    assert (found.parts, found.vectors) == (40, 80)
