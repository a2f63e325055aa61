"""Our GGUF files in llama-server, unchanged: the vectors that edge_embed gives."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_embed import Embedder
from edge_embed_convert import convert
from edge_embed_convert.calibrate import read_texts

from support import tiny, tiny_llava
from support.places import MINIATURES

SERVER = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="llama-server is neither on PATH nor named by LLAMA_SERVER")


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """Start llama-server on a free port with what the file says of itself, and wait until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(SERVER), "-m", str(model), "--embedding", "-c", "2048", "-ub", "2048", "-b", "2048", "-t", "2"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, process)
            yield url
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "llama-server ended before it answered"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    pytest.fail("llama-server did not answer within a minute")


def ask(url: str, texts: list[str]) -> NDArray[np.float32]:
    """Return normalised vectors (texts, dim)."""
    body = json.dumps({"input": texts}).encode()
    request = urllib.request.Request(f"{url}/v1/embeddings", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        data = json.load(answer)["data"]
    return np.array([row["embedding"] for row in sorted(data, key=lambda row: row["index"])], np.float32)


def compare(made: Path, level: str, longest: int = 500) -> float:
    """Return the least cosine between llama-server's vectors and ours."""
    (path,) = made.glob(f"*-{level}.gguf")
    texts = [text[:longest] for text in read_texts() if text.isascii()]
    with Embedder(f"{made}:{level}") as model, serving(path) as url:
        prompt = model.spec.template(None, None)
        theirs = ask(url, [prompt.replace("{text}", text) for text in texts])
        return float((model.encode(texts) * theirs).sum(axis=1).min())


@pytest.mark.skipif(not MINIATURES.is_dir(), reason="the trained miniatures are not here")
@pytest.mark.parametrize("base", ["mini-qwen3", "mini-eurobert"])
def test_trained_models_give_the_same_vectors(base: str, tmp_path: Path) -> None:
    """Measured: F16 0.999999, Q4_K_M 0.99992 at least."""
    (made,) = convert(MINIATURES / base, tmp_path, ["gguf:F16", "gguf:Q4_K_M"], task="retrieval")
    assert compare(made, "F16") >= 0.9999
    assert compare(made, "Q4_K_M") >= 0.9999


def test_minilm_gives_the_same_vectors(minilm: Path, tmp_path: Path) -> None:
    """Measured: 0.999999 at least."""
    (made,) = convert(minilm, tmp_path, ["gguf:F16"], name="all-MiniLM-L6-v2")
    assert compare(made, "F16") >= 0.9999


@pytest.mark.parametrize(
    ("name", "pooling"), [("qwen3", "lasttoken"), ("llama", "lasttoken"), ("eurobert", "mean"), ("bert", "cls_token")]
)
def test_random_models_give_the_same_vectors(name: str, pooling: str, tmp_path: Path) -> None:
    """Measured: 0.999998 at least. These models take 64 tokens, so texts are short."""
    tiny.make(name, tmp_path / name, pooling)
    (made,) = convert(tmp_path / name, tmp_path / "out", ["gguf:F16"])
    assert compare(made, "F16", longest=40) >= 0.9999


def test_models_that_take_images_give_the_same_vectors_of_texts(tmp_path: Path) -> None:
    """Measured: 0.999996 at least; llama-server adds the first token itself, and finds those inside a prompt."""
    tiny_llava.make(tmp_path / "e5-v")
    (made,) = convert(tmp_path / "e5-v", tmp_path / "out", ["gguf:F16"])
    assert compare(made, "F16", longest=100) >= 0.9999
