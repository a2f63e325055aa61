"""A hub on the loopback interface: as much of the Hugging Face hub's HTTP API as `huggingface_hub` asks for.

Small files are answered at once. Weights are redirected to a storage host, as the hub does, with the facts about the
file in the redirect's own headers.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>.+))?")
RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
STORAGE = re.compile(r"/storage/(?P<digest>[0-9a-f]{64})/(?P<name>.+)")
SMALL = (".json", ".md")
# What to do instead of sending a file, once: break the connection in the middle; end early, as if all were sent;
# answer 503.
Fault = Literal["cut", "short", "503"]


@dataclass
class Repository:
    """Commits by their hash, files by their name; branches and tags by the commit that they stand for."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def files(self, revision: str) -> tuple[str, dict[str, bytes] | None]:
        """Return a revision's commit and files; None when there is no such revision."""
        commit = self.names.get(revision, revision)
        return commit, self.commits.get(commit)


class HubServer(ThreadingHTTPServer):
    """Serves what was pushed; keeps a list of what was asked. `with HubServer() as server` runs it in a thread."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []  # "GET /path" and "HEAD /path", in order
        self.sent: list[str] = []  # names of the files whose contents were asked for, in order
        self.gated: set[str] = set()  # repositories that may be listed, but not read
        self.down: Literal["", "500", "hang up"] = ""  # what to answer to everything
        self.faults: dict[str, list[Fault]] = {}  # by file name, for one request each

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

    def url(self, host: str = "127.0.0.1") -> str:
        """Return the address, under one of the two names that the loopback interface has."""
        return f"http://{host}:{self.server_address[1]}"

    def stored(self, digest: str) -> bytes:
        """Return the file with this SHA-256."""
        every = (
            body for repo in self.repositories.values() for files in repo.commits.values() for body in files.values()
        )
        return next(body for body in every if hashlib.sha256(body).hexdigest() == digest)

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
        elif self.server.down:
            self._reply(500)
        elif found := STORAGE.fullmatch(path):
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
            listing = {"id": repo, "sha": commit, "siblings": [{"rfilename": path} for path in sorted(files)]}
            return self._reply(200, {"Content-Type": "application/json"}, json.dumps(listing).encode())
        if name not in files:
            return self._reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        if repo in self.server.gated and name != "README.md":
            return self._reply(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        digest, size = hashlib.sha256(files[name]).hexdigest(), len(files[name])
        if name.endswith(SMALL):
            return self._file(name, files[name], {"X-Repo-Commit": commit, "ETag": f'"{digest[:40]}"'})
        facts = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(size)}
        return self._reply(302, {**facts, "Location": f"{self.server.url('localhost')}/storage/{digest}/{name}"})

    def _file(self, name: str, body: bytes, headers: dict[str, str]) -> None:
        """Send a file, or what a Range header asks of it; a fault that is due comes instead."""
        fault = None
        if self.command == "GET":
            self.server.sent.append(name)
            fault = next(iter(self.server.faults.get(name, [])), None)
            self.server.faults[name] = self.server.faults.get(name, [])[1:]
        if fault == "503":
            return self._reply(503)
        if fault == "short":
            return self._reply(200, headers, body[: len(body) // 2])
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(found[1])
            headers = {**headers, "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
            return self._reply(206, headers, body[start:])
        return self._reply(200, headers, body, cut=fault == "cut")

    def _reply(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", cut: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def log_message(self, *args: object) -> None:
        """Stay silent."""
