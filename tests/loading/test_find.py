"""Which repository of a family is taken, and why: by the format that was asked for, or that runs fastest here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_embed.device.machine import this_device
from edge_embed.hub.fetch import Snapshot
from edge_embed.hub.reference import Reference, parse
from edge_embed.layouts.folder import weight_files
from edge_embed.loading.find import Wish, _places, why_there
from edge_embed.selection import choose as select
from edge_embed.selection import speed as tuning
from edge_embed.selection.choose import best_format, pick

from support.hub_server import HubServer, Shell

PLAIN, GGUF, MLX = "u/m", "u/m-GGUF", "u/m-mlx"
MISSING = "no_such_module"


def cached(repo: str) -> Path:
    """Return the folder that the hub's cache has for a repository's commit."""
    return Snapshot(repo, "0" * 40, Path("/cache")).folder


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Be a machine with VNNI, with the engines of ONNX and GGUF and without MLX."""
    known = replace(this_device(), system="Linux", machine="x86_64", features=frozenset({"avx512_vnni"}))
    monkeypatch.setattr(tuning, "this_device", lambda: known)
    monkeypatch.setitem(select.MODULES, "mlx", MISSING)
    return monkeypatch


def be_a_mac(patch: pytest.MonkeyPatch) -> None:
    mac = replace(this_device(), system="Darwin", machine="arm64", features=frozenset({"neon", "dotprod"}))
    patch.setattr(tuning, "this_device", lambda: mac)
    patch.setitem(select.MODULES, "mlx", "numpy")  # something that is installed


@pytest.mark.parametrize(
    ("model", "wish", "places"),
    [
        (PLAIN, Wish(), [PLAIN]),
        (PLAIN, Wish(backend="gguf"), [GGUF, PLAIN]),
        (f"{PLAIN}:Q4_K_M", Wish(), [GGUF, PLAIN]),
        (f"{PLAIN}:4bit", Wish(), [MLX, PLAIN]),
        (f"{PLAIN}:float32", Wish(), [PLAIN]),
        (GGUF, Wish(), [GGUF]),
        (f"{GGUF}:Q8_0", Wish(), [GGUF]),
        (GGUF, Wish(backend="onnx"), [PLAIN, GGUF]),
        (MLX, Wish(), [PLAIN, MLX]),  # its engine is not installed
        (f"{PLAIN}@v1", Wish(backend="gguf"), [PLAIN]),
        (PLAIN, Wish(task="retrieval"), ["u/m-retrieval", PLAIN]),
        (PLAIN, Wish(task="retrieval", backend="gguf"), ["u/m-retrieval-GGUF", "u/m-retrieval", PLAIN]),
    ],
)
def test_places_in_order(model: str, wish: Wish, places: list[str], machine: pytest.MonkeyPatch) -> None:
    assert _places(parse(model), wish) == places


def test_a_mac_takes_mlx_if_it_is_installed(machine: pytest.MonkeyPatch) -> None:
    be_a_mac(machine)
    assert _places(Reference(PLAIN), Wish()) == [MLX, PLAIN]
    told = why_there(Reference(PLAIN), Wish(), cached(MLX))
    assert told == ", from u/m-mlx, since mlx is the fastest format that can be run here"
    machine.setitem(select.MODULES, "mlx", MISSING)
    assert _places(Reference(PLAIN), Wish()) == [GGUF, PLAIN]
    machine.setitem(select.MODULES, "gguf", MISSING)
    assert _places(Reference(PLAIN), Wish()) == [PLAIN]


def test_the_workload_decides_on_the_format(machine: pytest.MonkeyPatch) -> None:
    for level in ("IQ4_NL", "Q4_0"):
        machine.setitem(tuning.JUDGED["vnni"]["gguf"], level, (0.9, 9.0))
    assert (best_format(), best_format(workload="single")) == ("onnx", "gguf")
    assert _places(Reference(PLAIN), Wish(workload="single")) == [GGUF, PLAIN]


def test_why_a_place_was_taken_is_said(machine: pytest.MonkeyPatch) -> None:
    assert why_there(Reference(PLAIN), Wish(), cached(PLAIN)) == ""
    assert why_there(Reference("./some/folder"), Wish(), Path("some/folder")) == ""
    assert why_there(Reference(MLX), Wish(), cached(PLAIN)) == f", from u/m, since {MISSING} is not installed"
    assert why_there(Reference(PLAIN, "Q8_0"), Wish(), cached(GGUF)) == ", from u/m-GGUF"
    assert why_there(Reference(PLAIN), Wish(backend="gguf"), cached(GGUF)) == ", from u/m-GGUF"


def test_of_gguf_files_the_fastest_that_keeps_quality_is_fetched(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = [f"m-{level}.gguf" for level in ("F16", "Q8_0", "IQ4_NL", "IQ2_M")]
    assert weight_files(None, tmp_path, names, pick) == ["m-IQ4_NL.gguf"]
    assert weight_files(None, tmp_path, names) == ["m-F16.gguf"]
    assert weight_files(None, tmp_path, ["m.gguf"], pick) == ["m.gguf"]


def test_what_is_in_the_cache_of_a_family_needs_no_network(converted: Path, tmp_path: Path) -> None:
    """A Mac would rather have the -mlx repository; here the plain one was fetched before."""
    files = {
        path.relative_to(converted).as_posix(): path.read_bytes() for path in converted.rglob("*") if path.is_file()
    }
    code = """
from dataclasses import replace
from edge_embed import Embedder
from edge_embed.device import machine as device
from edge_embed.selection import choose as select
from edge_embed.selection import speed as tuning
mac = replace(device.this_device(), system="Darwin", machine="arm64", features=frozenset())
tuning.this_device, select.MODULES["mlx"] = (lambda: mac), "numpy"
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
        code = code.replace("user/m", "other/m-GGUF").replace('"mlx"', '"gguf"').replace("numpy", MISSING)
        assert f", from other/m, since {MISSING} is not installed" in shell.run(code)
