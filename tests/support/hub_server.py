"""A hub on the loopback interface: as much of the Hugging Face hub's HTTP API as `huggingface_hub` asks for.

Small files are answered at once. Weights are redirected to a storage host, as the hub does, with the facts about the
file in the redirect's own headers. `Client` is a process that asks it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from edge_embed import errors

API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>.+))?")
RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
STORAGE = re.compile(r"/storage/(?P<digest>[0-9a-f]{64})/(?P<name>.+)")
SMALL = (".json", ".md")
# What to do instead of sending a file, once: break the connection in the middle; end early, as if all were sent; send
# other bytes of the same number, or a page; send all where a part was asked for; answer with a status.
Fault = Literal["cut", "short", "wrong", "html", "whole", "401", "403", "404", "429", "500", "503"]
PAGE = b"<!DOCTYPE html><html><body>Please log in to this network.</body></html>"


@dataclass
class Repository:
    """Commits by their hash, files by their name; branches and tags by the commit that they stand for."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def files(self, revision: str) -> tuple[str, dict[str, bytes] | None]:
        """Return a revision's commit and files; None when there is no such revision."""
        commit = self.names.get(revision, revision)
        return commit, self.commits.get(commit)


def git_hash(body: bytes) -> str:
    """Return what git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


class HubServer(ThreadingHTTPServer):
    """Serves what was pushed; keeps a list of what was asked. `with HubServer() as server` runs it in a thread."""

    daemon_threads = True

    def __init__(self, handler: type[Handler] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler or Handler)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []  # "GET /path" and "HEAD /path", in order
        self.sent: list[str] = []  # names of the files whose contents were asked for, in order
        self.gated: set[str] = set()  # repositories that may be listed, but not read
        self.down: Literal["", "401", "403", "429", "500", "hang up", "html"] = ""  # what to answer to everything
        self.faults: dict[str, list[Fault]] = {}  # by file name, for one request each
        self.ranges: list[str] = []  # Range headers that came, in order
        self.bytes_per_second = 0  # 0: as fast as it goes
        self.bytes_sent = 0  # of files
        self.tokens: list[str] = []  # that came to the storage host, which is not the hub's
        self.licence = "apache-2.0"
        self._digests: dict[bytes, str] = {}  # of whatever was asked for, since files are large and asked for in parts

    def push(self, repo: str, files: Mapping[str, bytes | str], name: str = "main") -> str:
        """Add a commit that holds `files` under a branch's or tag's name; return its hash."""
        contents = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
        commit = hashlib.sha1(repr((repo, sorted(contents.items()))).encode()).hexdigest()
        repository = self.repositories.setdefault(repo, Repository())
        repository.commits[commit] = contents
        repository.names[name] = commit
        return commit

    def forget(self) -> None:
        """Empty the lists of what was asked."""
        self.asked.clear()
        self.sent.clear()
        self.ranges.clear()
        self.bytes_sent = 0

    def url(self, host: str = "127.0.0.1") -> str:
        """Return the address, under one of the two names that the loopback interface has."""
        return f"http://{host}:{self.server_address[1]}"

    def digest(self, body: bytes) -> str:
        """Return the SHA-256 of a file."""
        if body not in self._digests:
            self._digests[body] = hashlib.sha256(body).hexdigest()
        return self._digests[body]

    def facts(self, name: str, body: bytes) -> dict[str, object]:
        """Return what a listing says of a file: small ones lie in git, the others in storage."""
        if name.endswith(SMALL):
            return {"size": len(body), "blobId": git_hash(body)}
        digest = self.digest(body)
        lfs = {"sha256": digest, "size": len(body), "pointerSize": 134}
        return {"size": len(body), "blobId": git_hash(digest.encode()), "lfs": lfs}

    def stored(self, digest: str) -> bytes:
        """Return the file with this SHA-256."""
        every = (
            body for repo in self.repositories.values() for files in repo.commits.values() for body in files.values()
        )
        return next(body for body in every if self.digest(body) == digest)

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answer one connection."""

    server: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a request for a list of files, or for a file."""
        path = urlsplit(self.path).path
        self.server.asked.append(f"{self.command} {unquote(path)}")
        if self.server.down == "hang up":
            self.close_connection = True
        elif self.server.down == "html":
            self._reply(200, {"Content-Type": "text/html"}, PAGE)
        elif self.server.down:
            self._reply(int(self.server.down))
        elif found := STORAGE.fullmatch(path):
            self.server.tokens += filter(None, [self.headers.get("Authorization")])
            self._file(unquote(found["name"]), self.server.stored(found["digest"]), {})
        elif found := API.fullmatch(path) or RESOLVE.fullmatch(path):
            self._repository(**{key: unquote(part) for key, part in found.groupdict().items() if part is not None})
        else:
            self._reply(404)

    do_HEAD = do_GET

    def _repository(self, repo: str, revision: str = "main", name: str | None = None) -> None:
        if repo not in self.server.repositories:
            return self._reply(404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        commit, files = self.server.repositories[repo].files(revision)
        if files is None:
            return self._reply(404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"No {revision}"})
        if name is None:
            listing = {
                "id": repo,
                "sha": commit,
                "siblings": [{"rfilename": path, **self.server.facts(path, files[path])} for path in sorted(files)],
                "cardData": {"license": self.server.licence},
            }
            return self._reply(200, {"Content-Type": "application/json"}, json.dumps(listing).encode())
        if name not in files:
            return self._reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        if repo in self.server.gated and name != "README.md":
            return self._reply(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        if name.endswith(SMALL):
            return self._file(name, files[name], {"X-Repo-Commit": commit, "ETag": f'"{git_hash(files[name])}"'})
        digest, size = self.server.digest(files[name]), len(files[name])
        headers = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(size)}
        return self._reply(302, {**headers, "Location": f"{self.server.url('localhost')}/storage/{digest}/{name}"})

    def _file(self, name: str, body: bytes, headers: dict[str, str]) -> None:
        """Send a file, or what a Range header asks of it; a fault that is due comes instead."""
        fault = None
        if self.command == "GET":
            self.server.sent.append(name)
            fault = next(iter(self.server.faults.get(name, [])), None)
            self.server.faults[name] = self.server.faults.get(name, [])[1:]
        if fault is not None and fault.isdigit():
            return self._reply(int(fault))
        if fault == "html":
            return self._reply(200, headers, PAGE)
        if fault == "wrong":
            body = bytes(byte ^ 1 for byte in body)
        if fault == "short":
            return self._reply(200, headers, body[: len(body) // 2])
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            self.server.ranges.append(found[0])
            start, stop = int(found[1]), min(int(found[2] or len(body)) + 1, len(body))
            if fault != "whole":
                headers = {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"}
                return self._reply(206, headers, body[start:stop], cut=fault == "cut")
        return self._reply(200, headers, body, cut=fault == "cut")

    def _reply(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", cut: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self._send(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def _send(self, body: bytes) -> None:
        """Send at the server's pace; a client that went away is no error."""
        step = self.server.bytes_per_second // 100 or max(1, len(body))
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(body), step):
                self.wfile.write(body[start : start + step])
                self.server.bytes_sent += len(body[start : start + step])
                if self.server.bytes_per_second:
                    time.sleep(0.01)

    def log_message(self, *args: object) -> None:
        """Stay silent."""


class Shell:
    """Runs the command as a user does, with caches of its own."""

    def __init__(self, server: HubServer, home: Path) -> None:
        own = {"HF_ENDPOINT": server.url(), "HF_HOME": str(home / "hf"), "EDGE_EMBED_CACHE": str(home / "own")}
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        self.environment |= own | {"NO_PROXY": "127.0.0.1,localhost"}

    def run(self, code: str, **variables: str) -> str:
        """Return what Python code printed, or raise with what it wrote of its errors."""
        command, environment = [sys.executable, "-W", "error", "-c", code], self.environment | variables
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def __call__(self, *words: str, fails: bool = False) -> str:
        """Return what it printed; its errors, where it must fail."""
        command = [sys.executable, "-m", "edge_embed.cli.main", *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == int(fails), done.stderr
        return (done.stderr if fails else done.stdout).strip()


# Repositories to push; what says what a model is, what no loader wants, weights.
METADATA = {
    "config.json": '{"model_type": "bert", "hidden_size": 16, "max_position_embeddings": 64}',
    "tokenizer.json": "{}",
    "modules.json": '[{"type": "m.Transformer", "path": ""}, {"type": "m.Pooling", "path": "1_Pooling"}]',
    "1_Pooling/config.json": '{"pooling_mode_mean_tokens": true}',
    "README.md": "---\nlicense: mit\n---\n",
}
OTHERS = {"pytorch_model.bin": "x" * 100, "tf_model.h5": "y" * 100, "images/logo.png": "z", ".gitattributes": ""}
CHECKPOINT = METADATA | OTHERS | {"model.safetensors": "weights" * 1000}
GRAPHS = CHECKPOINT | {
    "onnx/model.onnx": "graph" * 100,
    "onnx/model.onnx_data": "float" * 5000,
    "onnx/model_int8.onnx": "small" * 100,
}

# Reads a call a line, answers with an error's name and message, or with the folder and what can be loaded from it.
WORKER = """
import json, sys
from dataclasses import replace
import huggingface_hub
from edge_embed.hub import answers
from edge_embed.loading.load import files_of, find_and_choose
from edge_embed.loading.request import load_request

answers.WAITS = (0.01, 0.01)

def resolve(model, revision, cache_dir, offline):
    request = load_request(model, revision=revision, cache_dir=cache_dir, offline=offline)
    request = replace(request, memory_limit=None)  # what is pushed here is no model whose memory could be planned
    with find_and_choose(request) as (found, choice):
        opened = found.fetch(files_of(found.model, choice))
    return str(opened.folder), opened.levels() or [opened.checkpoint]

def download(repo, name, cache_dir):
    return huggingface_hub.hf_hub_download(repo, name, cache_dir=cache_dir), []

for line in sys.stdin:
    function, *arguments = json.loads(line)
    try:
        answer = ["", *globals()[function](*arguments)]
    except Exception as error:
        answer = [type(error).__name__, str(error), []]
    print(json.dumps(answer), flush=True)
"""


class Client:
    """A Python process that knows no hub but the server, and reads the hub's variables as a user's process does."""

    def __init__(self, server: HubServer, home: Path, code: str = WORKER, **variables: str) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
        variables |= {"HF_ENDPOINT": server.url(), "HF_HOME": str(home), "NO_PROXY": "127.0.0.1,localhost"}
        command = [sys.executable, "-W", "error", "-c", code]
        self.process = subprocess.Popen(
            command, env=inherited | variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.levels: list[str] = []

    def resolve(
        self, model: str, cache: Path | None = None, *, revision: str | None = None, offline: bool | None = None
    ) -> Path:
        """Return the folder, and set `levels` to what can be loaded from it; raise what was raised there."""
        return self._call("resolve", model, revision, cache and str(cache), offline)

    def download(self, repo: str, name: str, cache: Path) -> Path:
        """Fetch one file with the hub's own client, as other programs do."""
        return self._call("download", repo, name, str(cache))

    def _call(self, *arguments: object) -> Path:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        kind, text, self.levels = json.loads(self.process.stdout.readline())
        if kind:
            raise getattr(errors, kind, AssertionError)(text)  # anything else than our own errors fails the test
        return Path(text)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.communicate(timeout=30)
