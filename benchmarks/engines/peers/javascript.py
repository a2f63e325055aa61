"""transformers.js in Node.js, which runs ONNX Runtime: a process of its own with the same lines of JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.engines.peers import Engine

SCRIPT = Path(__file__).with_name("transformers.mjs")


def load(model: str, threads: int, modules: str, dtype: str) -> Engine:
    """Start Node.js with the packages of a folder; texts go in batches of 32 in their order."""
    words = ["node", str(SCRIPT), modules, model, dtype, str(threads)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    to, back = process.stdin, process.stdout
    if not back.readline():
        raise RuntimeError("Node.js ended before it was ready")

    def embed(texts: list[str]) -> Any:
        to.write(json.dumps(texts) + "\n")
        to.flush()
        return json.loads(back.readline())

    return Engine(embed, process.pid, to.close)
