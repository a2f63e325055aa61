"""Servers as processes of their own: ours, llama-server, infinity, and the ten lines of FastAPI that many write."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .client import Connection, request_body

TICKS = os.sysconf("SC_CLK_TCK")
FASTAPI = """
import sys
from fastapi import FastAPI
from sentence_transformers import SentenceTransformer
model, app = SentenceTransformer(sys.argv[1]), FastAPI()

@app.post("/v1/embeddings")
def embed(body: dict):
    vectors = model.encode(body["input"] if isinstance(body["input"], list) else [body["input"]])
    return {"data": [{"index": n, "embedding": vector.tolist()} for n, vector in enumerate(vectors)]}

import uvicorn
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""


@dataclass(frozen=True)
class Server:
    """A server that answers at a port."""

    process: subprocess.Popen[bytes]
    port: int
    model: str

    def cpu(self) -> float:
        """Return the CPU seconds of all its threads until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident(self) -> int:
        """Return the bytes of memory that it holds."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))


def edge_embed(reference: str, *flags: str) -> Sequence[str]:
    """Return the command of our service; the model's name is `model`."""
    return [sys.executable, "-m", "edge_embed.cli.main", "serve", f"{reference}=model", "--preload", *flags]


def llama_server(binary: str, gguf: Path, pooling: str = "mean") -> Sequence[str]:
    """Return llama-server's command, with as many slots and as large a batch as it takes."""
    return [binary, "-m", str(gguf), "--embeddings", "--pooling", pooling, "-ub", "2048", "-b", "2048", "-t", "2"]


def infinity(binary: str, folder: Path) -> Sequence[str]:
    """Return infinity's command, with PyTorch, which is its default."""
    names = ["--url-prefix", "/v1", "--served-model-name", "model"]
    engine = ["--engine", "torch", "--device", "cpu", "--dtype", "float32"]
    return [binary, "v2", "--model-id", str(folder), *names, *engine]


def fastapi(python: str, folder: Path, scratch: Path) -> Sequence[str]:
    """Return the command of FastAPI around sentence-transformers."""
    script = scratch / "ten_lines.py"
    script.write_text(FASTAPI, "utf-8")
    return [python, str(script), str(folder)]


@contextmanager
def started(command: Sequence[str], model: str = "model", env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a server on a free port until the block ends; it is ready when it embeds."""
    port = free_port()
    where = [str(port)] if command[1].endswith("ten_lines.py") else ["--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command, *where], stdout=log, stderr=log, env={**os.environ, **(env or {})})
        try:
            asyncio.run(_ready(process, port, model))
            yield Server(process, port, model)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-2000:].decode("utf-8", "replace"))
            raise
        finally:
            process.terminate()
            process.wait(30)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _ready(process: subprocess.Popen[bytes], port: int, model: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode} before it answered")
        try:
            status, _ = await Connection("127.0.0.1", port).post("/v1/embeddings", request_body(model, "ready?"))
            if status == 200:
                return
        except (OSError, asyncio.IncompleteReadError):
            pass
        await asyncio.sleep(0.2)
    raise SystemExit("the server did not answer within two minutes")
