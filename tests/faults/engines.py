"""Load and run spoilt GGUF, ONNX and MLX files, and print how many were tried and what broke.

    python tests/faults/engines.py SAMPLES SECONDS SEED [KIND ...]

A file must load and give a vector or an error of ours; no signal may end the process that tries it. SAMPLES is a
folder that `samples` of tests/support/samples.py made.
"""

from __future__ import annotations

import importlib
import json
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge_embed.backends import Batch, load
from edge_embed.errors import EdgeEmbedError
from edge_embed.layouts.folder import read_folder
from edge_embed.layouts.mlx import checkpoint_as_mlx

from support import mutants
from support.faults import run_campaigns
from support.limited import run_limited

SECONDS = 10.0
IDS = [np.array(row, np.int32) for row in ([2, 5, 6, 3], [2, 7, 3])]
WORDS = ["", "a b c", "Ž漢字 \U0001f600 <s> [CLS]", "word " * 40]
for module in ("llama_cpp", "onnxruntime", "edge_embed.backends.gguf.backend", "edge_embed.backends.onnx.backend"):
    importlib.import_module(module)


def run(path: Path, engine: str) -> None:
    """Load a file as whoever opens it does, and embed two texts by its engine, and by a GGUF file's own vocabulary."""
    if engine == "vocabulary":
        encode(path)
        return
    model = read_folder({"gguf": path, "onnx": path.parent.parent, "mlx": path.parent}[engine])
    text = model.spec.weights[0] if engine != "mlx" else checkpoint_as_mlx(model.files, path.name)[0]
    backend = load(engine, model.folder, model.spec, text, 1)
    try:
        backend.forward(Batch(IDS))
        if engine == "gguf":
            for words in WORDS:
                backend.encode_text(words)  # type: ignore[attr-defined]
    finally:
        backend.close()


def encode(path: Path) -> None:
    """Tokenise by a GGUF file's own vocabulary."""
    vocabulary = importlib.import_module("edge_embed.backends.gguf.model").Vocabulary(path)
    try:
        for words in WORDS:
            vocabulary.encode(words)
    finally:
        vocabulary.close()


def lone(data: bytes, rng: random.Random) -> bytes:
    """Spoil the data of the tensors as well: NaN, infinity and large numbers."""
    return mutants.spoil_bytes(data, rng)


# Kind -> the sample file, how it is spoilt, what runs it.
KINDS: dict[str, tuple[str, Callable[[bytes, random.Random], bytes], str]] = {
    "gguf of bert": ("bert-F32.gguf", mutants.spoil_gguf, "gguf"),
    "gguf of qwen3": ("qwen3-F32.gguf", mutants.spoil_gguf, "gguf"),
    "vocabulary of llama": ("llama-F32.gguf", mutants.spoil_gguf, "vocabulary"),
    "vocabulary of t5": ("t5-F32.gguf", mutants.spoil_gguf, "vocabulary"),
    "data of gguf": ("qwen3-F32.gguf", lone, "gguf"),
    "onnx": ("graph/onnx/model.onnx", mutants.spoil_protobuf, "onnx"),
    "mlx": ("bert/model.safetensors", mutants.spoil_safetensors, "mlx"),
    "config of mlx": ("qwen3/config.json", lambda data, rng: mutants.spoil_json(json.loads(data), rng), "mlx"),
}


def campaign(samples: Path, kind: str, seconds: float, seed: int) -> tuple[int, list[str]]:
    """Spoil and run one kind of file for so many seconds."""
    name, spoil, engine = KINDS[kind]
    data = (samples / name).read_bytes()
    with tempfile.TemporaryDirectory() as place:
        if "/" in name:
            shutil.copytree(samples / name.partition("/")[0], Path(place) / name.partition("/")[0])
        spoilt = Path(place) / name
        path = spoilt.with_name("model.safetensors") if engine == "mlx" else spoilt

        def attempt(n: int) -> str | None:
            spoilt.write_bytes(data if n == 0 else spoil(data, random.Random(f"{kind} {seed} {n}")))
            try:
                run(path, engine)
            except EdgeEmbedError as error:
                return None if n else f"whole, it is refused: {error}"
            except BaseException:
                return traceback.format_exc()[-1500:]
            return None

        return run_limited(attempt, seconds, Path(place) / "note", SECONDS)


if __name__ == "__main__":
    run_campaigns(campaign, KINDS, sys.argv[1:])
