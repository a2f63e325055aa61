"""Which repository of a family is taken, and why: by the format that was asked for, or that runs fastest here."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_embed.device.machine import this_device
from edge_embed.hub.entries import Snapshot
from edge_embed.hub.repository import Repository
from edge_embed.layouts.folder import ModelFolder
from edge_embed.layouts.gguf import find_gguf
from edge_embed.layouts.listing import Listing
from edge_embed.loading.find import FoundModel, explain_place, places
from edge_embed.loading.request import load_request
from edge_embed.selection import speed
from edge_embed.selection.choice import Constraints
from edge_embed.selection.choose import best_format, choose

from support.engines import change_facts, set_speed
from support.fake import SPEC
from support.hub_server import HubServer, Shell

PLAIN, GGUF, MLX = "u/m", "u/m-GGUF", "u/m-mlx"
MISSING = "no_such_module"


def told(model: str, place: str, **options: Any) -> str:
    """Say why a repository was taken for the one that was named."""
    repository = Repository(snapshot=Snapshot(place, "0" * 40, Path("/cache")), entries={})
    found = FoundModel(ModelFolder(Listing(Path("/cache"), {}), SPEC), repository)
    return explain_place(load_request(model, **options), found)


def tried(model: str, **options: Any) -> list[str]:
    """List the repositories that would be tried."""
    return places(load_request(model, **options))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Be a machine with VNNI, with the engines of ONNX and GGUF and without MLX."""
    known = replace(this_device(), system="Linux", machine="x86_64", features=frozenset({"avx512_vnni"}))
    monkeypatch.setattr(speed, "this_device", lambda: known)
    change_facts(monkeypatch, "mlx", module=MISSING)
    return monkeypatch


def be_a_mac(patch: pytest.MonkeyPatch) -> None:
    mac = replace(this_device(), system="Darwin", machine="arm64", features=frozenset({"neon", "dotprod"}))
    patch.setattr(speed, "this_device", lambda: mac)
    change_facts(patch, "mlx", module="numpy")  # something that is installed


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        (PLAIN, {}, [PLAIN]),
        (PLAIN, {"backend": "gguf"}, [GGUF, PLAIN]),
        (f"{PLAIN}:Q4_K_M", {}, [GGUF, PLAIN]),
        (f"{PLAIN}:4bit", {}, [MLX, PLAIN]),
        (f"{PLAIN}:float32", {}, [PLAIN]),
        (GGUF, {}, [GGUF]),
        (f"{GGUF}:Q8_0", {}, [GGUF]),
        (GGUF, {"backend": "onnx"}, [PLAIN, GGUF]),
        (MLX, {}, [PLAIN, MLX]),  # its engine is not installed
        (f"{PLAIN}@v1", {"backend": "gguf"}, [PLAIN]),
        (PLAIN, {"task": "retrieval"}, ["u/m-retrieval", PLAIN]),
        (PLAIN, {"task": "retrieval", "backend": "gguf"}, ["u/m-retrieval-GGUF", "u/m-retrieval", PLAIN]),
    ],
)
def test_places_in_order(model: str, options: dict[str, str], expected: list[str], machine: pytest.MonkeyPatch) -> None:
    assert tried(model, **options) == expected


def test_a_mac_takes_mlx_if_it_is_installed(machine: pytest.MonkeyPatch) -> None:
    be_a_mac(machine)
    assert tried(PLAIN) == [MLX, PLAIN]
    assert told(PLAIN, MLX) == ", from u/m-mlx, since mlx is the fastest format that can be run here"
    change_facts(machine, "mlx", module=MISSING)
    assert tried(PLAIN) == [GGUF, PLAIN]
    change_facts(machine, "gguf", module=MISSING)
    assert tried(PLAIN) == [PLAIN]


def test_the_workload_decides_on_the_format(machine: pytest.MonkeyPatch) -> None:
    for level in ("IQ4_NL", "Q4_0"):
        set_speed(machine, "gguf", level, (0.9, 9.0))
    assert (best_format(), best_format(workload="single")) == ("onnx", "gguf")
    assert tried(PLAIN, workload="single") == [GGUF, PLAIN]


def test_why_a_place_was_taken_is_said(machine: pytest.MonkeyPatch) -> None:
    assert told(PLAIN, PLAIN) == ""
    local = FoundModel(ModelFolder(Listing(Path("some/folder"), {}), SPEC))
    assert explain_place(load_request("./some/folder"), local) == ""
    assert told(MLX, PLAIN) == f", from u/m, since {MISSING} is not installed"
    assert told(f"{PLAIN}:Q8_0", GGUF) == ", from u/m-GGUF"
    assert told(PLAIN, GGUF, backend="gguf") == ", from u/m-GGUF"


def test_of_gguf_files_the_fastest_that_keeps_quality_is_fetched(machine: pytest.MonkeyPatch) -> None:
    names = [f"m-{level}.gguf" for level in ("F16", "Q8_0", "IQ4_NL", "IQ2_M")]
    files = Listing(Path("/cache"), dict.fromkeys(names))
    model = ModelFolder(files, replace(SPEC, weights=find_gguf(files)))
    assert choose(model, Constraints()).weights.level == "IQ4_NL"


def test_the_road_is_walked_once(converted: Path, tmp_path: Path) -> None:
    """One listing, one description, one choice between a name and a vector, each with a file of its own to read."""
    files = {
        path.relative_to(converted).as_posix(): path.read_bytes() for path in converted.rglob("*") if path.is_file()
    }
    code = """
import collections
from edge_embed import Embedder
from edge_embed.hub import repository
from edge_embed.layouts import folder
from edge_embed.loading import find, load
from edge_embed.spec.model import ModelSpec

calls = collections.Counter()

def count(owner, name):
    original = getattr(owner, name)
    def counted(*args, **kwargs):
        calls[name] += 1
        return original(*args, **kwargs)
    setattr(owner, name, counted)

for owner, name in ((find, "ask_hub"), (find, "read_folder"), (load, "choose"), (load, "_open"), (ModelSpec, "read")):
    count(owner, name)
with Embedder("user/m:int8") as model:
    model.encode("a text")
print(dict(calls))
"""
    with HubServer() as server:
        server.push("user/m", files)
        shell = Shell(server, tmp_path)
        once = {"ask_hub": 1, "read_folder": 1, "choose": 1, "_open": 1, "read": 1}
        assert ast.literal_eval(shell.run(code)) == once
        assert sum(line == "GET /api/models/user/m" for line in server.asked) == 1
        cached = {name: number for name, number in once.items() if name != "ask_hub"}
        assert ast.literal_eval(shell.run(code)) == cached


def test_what_is_in_the_cache_of_a_family_needs_no_network(converted: Path, tmp_path: Path) -> None:
    """A Mac would rather have the -mlx repository; here the plain one was fetched before."""
    files = {
        path.relative_to(converted).as_posix(): path.read_bytes() for path in converted.rglob("*") if path.is_file()
    }
    code = """
from dataclasses import replace
from edge_embed import Embedder
from edge_embed.device import machine as device
from edge_embed.backends import mlx
from edge_embed.selection import speed
mac = replace(device.this_device(), system="Darwin", machine="arm64", features=frozenset())
speed.this_device, mlx.FACTS = (lambda: mac), replace(mlx.FACTS, module="numpy")
with Embedder("user/m") as model:
    print(model.explain())
"""
    with HubServer() as server:
        server.push("user/m", files)
        shell = Shell(server, tmp_path)
        first = shell.run(code)
        assert "GET /api/models/user/m-mlx" in server.asked
        assert "(the only one), " in first or "the fastest" in first
        server.forget()
        assert shell.run(code) == first
        assert server.asked == []
        server.push("other/m-GGUF", {"README.md": "", "m-Q8_0.gguf": b"GGUF"})
        server.push("other/m", files)
        code = code.replace("user/m", "other/m-GGUF").replace("mlx", "gguf").replace("numpy", MISSING)
        assert f", from other/m, since {MISSING} is not installed" in shell.run(code)
