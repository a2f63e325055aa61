"""What the package promises as a whole: its names, what it imports, which file may import which."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import edge_embed
from edge_embed import errors, vectors

from support.places import ROOT

RUNTIME = ROOT / "edge_embed"


def test_few_doors_lead_to_the_converter() -> None:
    doors = {
        path.name
        for path in RUNTIME.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and str(node.value).split(".")[0] == "edge_embed_convert"
    }
    assert doors == {"prepare.py", "convert.py"}
    assert not [path for path in RUNTIME.rglob("*.py") if "import edge_embed_convert" in path.read_text("utf-8")]


def own(module: ModuleType) -> set[str]:
    """List the functions and classes that a module defines for others."""
    mine = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    return {name for name in mine if not name.startswith("_")}


def test_public_names_are_exact() -> None:
    assert len(edge_embed.__all__) == len({*edge_embed.__all__})  # ruff keeps them in order
    assert set(edge_embed.__all__) <= set(dir(edge_embed))
    assert all(getattr(edge_embed, name).__module__.startswith("edge_embed") for name in edge_embed.__all__)
    public = {name for name, value in vars(edge_embed).items() if isinstance(value, type) and value is not Any}
    functions = own(vectors) - {"check_precision", "columns", "differing", "nearest"}  # which `search` shares
    exceptions = own(errors) - {"warn", "listing", "printable"}
    parts = {"AsyncEmbedder", "Compatibility", "Embedder", "ImageSources", "Index", "ModelSpec", "SearchHit"}
    assert public == parts | exceptions
    assert public | functions | {"UNTRUSTED", "compare", "show_similarity"} == set(edge_embed.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Embeder'"):
        edge_embed.Embeder  # type: ignore[attr-defined]  # noqa: B018


def run(code: str) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_is_light() -> None:
    loaded = set(run("import sys, edge_embed; print(*sys.modules)").split())
    assert "edge_embed" in loaded
    heavy = {
        "numpy",
        "onnxruntime",
        "tokenizers",
        "huggingface_hub",
        "tqdm",
        "onnx",
        "torch",
        "transformers",
        "importlib.metadata",
    }
    assert not loaded & heavy


def test_no_path_of_the_runtime_reaches_torch(converted: Path) -> None:
    others = ["edge_embed.integrations."]  # import what a framework's users have anyway
    if importlib.util.find_spec("openvino") is None:
        others.append("edge_embed.backends.openvino.")
    code = f"""
import pkgutil, importlib, sys, edge_embed
for module in pkgutil.walk_packages(edge_embed.__path__, "edge_embed."):
    if not module.name.startswith({tuple(others)!r}):
        importlib.import_module(module.name)
edge_embed.Embedder({str(converted)!r}).encode("a")
print(*sys.modules)
"""
    loaded = {name.partition(".")[0] for name in run(code).split()}
    assert {"edge_embed", "onnxruntime", "tokenizers"} <= loaded
    assert not loaded & {"torch", "transformers", "sentence_transformers", "onnx", "edge_embed_convert"}


def test_the_converter_needs_no_torch(minilm: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from edge_embed_convert import convert
convert(Path({str(minilm)!r}), Path({str(tmp_path)!r}), ["onnx:int8"])
print(*sys.modules)
"""
    loaded = {name.partition(".")[0] for name in run(code).split()}
    assert "edge_embed_convert" in loaded
    assert not loaded & {"torch", "transformers"}


@pytest.mark.parametrize("where", ["import edge_embed", "import runpy; runpy.run_path('setup.py')"])
def test_a_python_of_32_bits_is_refused_by_name(where: str) -> None:
    """When it is imported, and when pip asks a checkout what it needs."""
    code = f"import sys; sys.maxsize, sys.executable = 2**31 - 1, '/usr/bin/python-of-armv7l'; {where}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    told = done.stderr.splitlines()[-1]
    assert told.startswith("edge_embed.errors.UnsupportedMachineError: edge_embed needs a 64-bit Python, and /usr/bin")
    assert "On a Raspberry Pi (3 and later, Zero 2) write the 64-bit Raspberry Pi OS to the card" in told


def test_an_import_that_is_guarded_meets_an_import_error() -> None:
    code = "import sys; sys.maxsize = 2**31 - 1\ntry: import edge_embed\nexcept ImportError: print('without')"
    assert run(code) == "without\n"
