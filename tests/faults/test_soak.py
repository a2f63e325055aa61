"""Models that are opened and closed over and over, from several threads, and in forks: nothing grows, nothing hangs.

By default some cycles; with EDGE_EMBED_FAULTS 300 of each engine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_embed.layouts.folder import read_folder
from edge_embed_convert import convert

from support import tiny
from support.faults import long

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
ENGINES = ["gguf", "mlx", "onnx"]
CYCLES = 300 if long() else 30
PER_CYCLE = 12 << 10  # bytes; 0.6 to 2.4 kB were measured over 300 cycles; a leak of all weights would be 100
BEFORE = """
import gc, json, os, sys, threading
from edge_embed import Embedder, EdgeEmbedError
folder, engine, cycles = sys.argv[1], sys.argv[2], int(sys.argv[3])

def open_model(**options):
    return Embedder(folder, backend=engine, threads=2, **options)
"""
SOAK = """
def taken():
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1])
    return [pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))]

for cycle in range(cycles):
    with open_model() as model:
        model.encode(["a text", "another text of more words"])
    if cycle == cycles // 3:
        first = taken()
print(json.dumps([first, taken()]))
"""
CLOSE = """
for _ in range(cycles):
    model, errors = open_model(), []
    def close():
        try:
            model.close()
        except BaseException as error:
            errors.append(repr(error))
    both = [threading.Thread(target=close) for _ in range(4)]
    for thread in both: thread.start()
    for thread in both: thread.join()
    assert not errors, errors
    try:
        model.encode("a text")
    except EdgeEmbedError as error:
        assert "was closed" in str(error)
print("closed")
"""
FORK = """
model = open_model()
vector = model.encode("a text")
for way in ("use", "open", "close", "leave"):
    child = os.fork()
    if child == 0:
        try:
            if way == "use":
                assert (model.encode("a text") == vector).all()
            elif way == "open":
                with open_model() as other:
                    assert (other.encode("a text") == vector).all()
            elif way == "close":
                model.close()
            print(way, "went well", flush=True)
        except EdgeEmbedError as error:
            print(way, error, flush=True)
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
assert (model.encode("a text") == vector).all()
"""
FIRST = """
child = os.fork()
if child == 0:
    with open_model() as model:
        model.encode("a text")
    print("went well", flush=True)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return one model in every format."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny.make("bert", folder / "source")
    made = convert(folder / "source", folder / "out", ["onnx:float32", "gguf:F32", "mlx:float32"])
    return {read_folder(path).spec.weights[0].format: path for path in made}


def run(code: str, folder: Path, engine: str, cycles: int, seconds: float = 60) -> str:
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", BEFORE + code]
    words = [*command, str(folder), engine, str(cycles)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 2 * cycles)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_grows(folders: dict[str, Path], engine: str) -> None:
    first, last = json.loads(run(SOAK, folders[engine], engine, CYCLES))
    assert last[1:] == first[1:], "descriptors, threads"
    print(f"{engine}: {(last[0] - first[0]) / CYCLES / 1024:.1f} kB a cycle of {CYCLES}")
    assert last[0] - first[0] < PER_CYCLE * CYCLES + (4 << 20)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_model_may_be_closed_by_several_threads_at_once(folders: dict[str, Path], engine: str) -> None:
    assert run(CLOSE, folders[engine], engine, CYCLES // 3) == "closed\n"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_fork_gets_an_error_where_it_would_hang(folders: dict[str, Path], engine: str) -> None:
    use, open_, close, leave = run(FORK, folders[engine], engine, 1).splitlines()
    assert (close, leave) == ("close went well", "leave went well")
    if engine == "onnx":  # whose calls compute in the caller's thread what no other takes
        assert (use, open_) == ("use went well", "open went well")
        return
    name = {"gguf": "llama.cpp", "mlx": "MLX"}[engine]
    for line in (use, open_):
        assert f"this process was forked from one that had {name} running, whose threads were not copied" in line
        assert line.endswith(
            'open models after the fork only, or start processes with multiprocessing.get_context("spawn")'
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_models_may_be_opened_after_a_fork(folders: dict[str, Path], engine: str) -> None:
    assert run(FIRST, folders[engine], engine, 1) == "went well\n"
