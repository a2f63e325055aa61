"""Other people's programs that read published folders, each in an environment of its own: see scripts/readers.sh.

What runs in them lies in scripts/readers/: texts in, their vectors and the reader's version out, as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_embed.vectors import normalize

from .places import ROOT

PROGRAMS = ROOT / "scripts" / "readers"
PLACE = Path(os.environ.get("READERS", ROOT / ".readers"))
HERE = Path(sys.executable)  # the environment that runs the tests


@dataclass(frozen=True)
class Reader:
    """A program and what it is run with; `kind` is the folder that it reads, `only` the pooling, if it knows one."""

    name: str
    kind: str  # "onnx", "mlx" or "gguf"
    runs: Path
    program: str
    options: tuple[str, ...] = ()
    only: str | None = None
    needs: Path = HERE

    @property
    def absent(self) -> str | None:
        """Why it cannot run here, or None."""
        missing = next((path for path in (self.runs, self._beside, self.needs) if not path.exists()), None)
        return f"there is no {missing}: scripts/readers.sh installs what reads our folders" if missing else None

    @property
    def _beside(self) -> Path:
        """Where it is run: transformers.js is found from there."""
        return PLACE / self.name.replace(" ", "-") if self.program.endswith(".mjs") else PROGRAMS

    def run(self, code: str, folder: Path) -> None:
        """Run code beside published folders; that of JavaScript where its packages are."""
        script = self.program.endswith(".mjs")
        command = [str(self.runs), *(["--input-type=module", "--eval"] if script else ["-c"]), code]
        self._call(command, self._beside if script else folder)

    def embed(self, folder: Path, texts: Sequence[str]) -> tuple[str, NDArray[np.float32]]:
        """Return the reader's version, and unit vectors (texts, dim)."""
        command = [str(self.runs), str(PROGRAMS / self.program)]
        if self.program.endswith(".mjs"):
            command[1:] = ["--input-type=module", "--eval", (PROGRAMS / self.program).read_text("utf-8")]
        said = self._call([*command, str(folder), *self.options], self._beside, json.dumps(texts))
        answer = json.loads(said.strip().splitlines()[-1])
        return answer["version"], normalize(np.array(answer["vectors"], np.float32))

    def _call(self, command: Sequence[str], place: Path, given: str = "") -> str:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, cwd=place, env=environment, timeout=600
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {done.stderr[-1000:]}")
        return done.stdout


NODE, SERVER = (Path(shutil.which(name) or name) for name in ("node", os.environ.get("LLAMA_SERVER", "llama-server")))
ONNX, MLX = PLACE / "onnx/bin/python", PLACE / "mlx/bin/python"
READERS = (
    Reader("sentence-transformers", "onnx", HERE, "with_sentence_transformers.py", ("torch",)),
    Reader("sentence-transformers, ONNX", "onnx", ONNX, "with_sentence_transformers.py", ("onnx",)),
    Reader("fastembed", "onnx", ONNX, "with_fastembed.py"),
    Reader("OpenVINO", "onnx", ONNX, "with_openvino.py"),
    Reader("transformers.js 3", "onnx", NODE, "with_transformers_js.mjs"),
    Reader("transformers.js 4", "onnx", NODE, "with_transformers_js.mjs"),
    Reader("mlx-embeddings", "mlx", MLX, "with_mlx.py", ("mlx-embeddings",)),
    Reader("mlx-lm", "mlx", MLX, "with_mlx.py", ("mlx-lm",), only="last"),
    Reader("llama-cpp-python", "gguf", HERE, "with_llama_cpp.py"),
    Reader("llama-server", "gguf", HERE, "with_llama_server.py", needs=SERVER),
)
