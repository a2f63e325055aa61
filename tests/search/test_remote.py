"""A query's vector from a running service, and services that are none."""

from __future__ import annotations

import http.server
import importlib.util
import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_embed import BackendError, Embedder, Index, InputError, SearchIndexError
from edge_embed.cli.main import main
from edge_embed.search import space
from edge_embed.search.meta import Meta
from edge_embed.search.remote import KEY
from edge_embed.search.warm import SERVER as VARIABLE

from support.places import ROOT
from support.search import fake_model

SERVER = ("httptools", "msgspec", "orjson", "prometheus_client", "starlette", "uvicorn")
ITEMS = [
    {"id": "tea", "text": "Pour boiling water over the leaves."},
    {"id": "bus", "text": "The bus to the station leaves at noon."},
]


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in SERVER),
    reason="the extra `server` is not installed: pip install 'edge-embed[server]'",
)
def test_a_running_service(
    converted: Path, tiny_tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from support.real_service import serving

    with Index.open(tmp_path / "i.db", f"{converted}:int8") as index:
        index.add(ITEMS)
        here = index.search("how do I make a hot drink?", least=-1)
    with serving(f"{converted}:int8=m", tiny_tokenizer) as server, Index.open(tmp_path / "i.db") as index:
        there = index.search("how do I make a hot drink?", least=-1, server=server)
        assert index._model is None  # it was not opened
        assert [hit.id for hit in there] == [hit.id for hit in here] == ["tea", "bus"]
        assert [hit.score for hit in there] == pytest.approx([hit.score for hit in here], abs=1e-5)
        assert main(["search", "public transport", "--index", str(tmp_path / "i.db"), "--server", server]) == 0
        assert "bus\n" in capsys.readouterr().out


class Service(http.server.BaseHTTPRequestHandler):
    """Answers as it is told, and notes what it was asked."""

    answer: tuple[int, str, bytes]
    asked: list[tuple[str, str | None, dict[str, object]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers.get("Authorization"), body))
        status, fingerprint, answer = self.answer
        self.send_response(status)
        self.send_header("edge-embed-fingerprint", fingerprint)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return "unix"


class Threaded(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    Service.asked = []
    with Threaded(str(tmp_path / "s"), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"unix:{tmp_path / 's'}"
        server.shutdown()


def test_a_socket_and_answers_that_are_none(
    service: str, tiny_tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "secret")
    model = fake_model(tiny_tokenizer)
    with Index.open(":memory:", model) as index:
        index.add(ITEMS)
        vector = model.encode_query("tea").tolist()
        good = json.dumps({"data": [{"embedding": vector}]}).encode()
        Service.answer = (200, "0" * 32, good)
        assert len(index.search("tea", least=-1, server=service)) == 2
        (path, key, asked), *others = Service.asked
        assert not others
        assert (path, key) == ("/v1/embeddings", "Bearer secret")
        assert asked == {"input": ["tea"], "input_type": "query", "dimensions": 64, "encoding_format": "float"}
        for answer, kind, message in [
            ((200, "1" * 32, good), SearchIndexError, "are known to be comparable with those of fake"),
            ((200, "", good), BackendError, r"of shape \(1, 64\), expected finite numbers \(8, 64\)"),
            ((429, "0" * 32, b"later"), BackendError, "answers 429: later"),
            ((200, "0" * 32, b"[" * 100_000), BackendError, "gives no vector"),
            ((200, "0" * 32, b'{"data": []}'), BackendError, "gives no vector"),
            ((200, "0" * 32, b'{"data": [{"embedding": [1, 2]}]}'), BackendError, r"of shape \(1, 2\)"),
            ((200, "0" * 32, good.replace(str(vector[0]).encode(), b"NaN")), BackendError, "expected finite"),
        ]:
            Service.answer = answer
            with pytest.raises(kind, match=message):
                index.search("tea", server=service)
        for wrong, kind, message in [
            ("unix:/nowhere", BackendError, "does not answer"),
            ("http://127.0.0.1:1", BackendError, "does not answer"),
            ("ftp://host", InputError, "is no service's address"),
            ("http://h:port", InputError, "is no service's address"),
        ]:
            with pytest.raises(kind, match=message):
                index.search("tea", server=wrong)
        with pytest.raises(InputError, match="embeds texts, got list"):
            index.search(vector, server=service)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Answer at this user's own socket, in a folder that is his alone."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.delenv(VARIABLE, raising=False)
    Service.asked = []
    with Threaded(str(folder / "edge-embed"), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder
        server.shutdown()


def test_the_command_asks_the_users_own_service(
    own: Path, tiny_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And opens the model where that has another, fails, is not this user's alone, or is gone."""
    model, file = fake_model(tiny_tokenizer), tmp_path / "i.db"
    opened: list[str] = []

    def reopen(meta: Meta, path: str, make: object) -> Embedder:
        opened.append(path)
        return fake_model(tiny_tokenizer)

    monkeypatch.setattr(space, "reopen", reopen)
    with Index.open(file, model) as index:
        index.add(ITEMS)
        expected = [hit.to_json() for hit in index.search("tea", least=-1)]
    good = json.dumps({"data": [{"embedding": model.encode_query("tea").tolist()}]}).encode()

    def search(*more: str) -> Any:
        opened.clear()
        assert main(["search", "tea", "--index", str(file), "--all", "--json", *more]) == 0
        hits = json.loads(capsys.readouterr().out)["hits"]
        assert [hit["id"] for hit in hits] == [hit["id"] for hit in expected]
        assert [hit["score"] for hit in hits] == pytest.approx([hit["score"] for hit in expected], abs=1e-5)
        return len(opened)

    Service.answer = (200, "0" * 32, good)
    assert search() == 0
    assert len(Service.asked) == 1
    for answer in ((200, "1" * 32, good), (503, "", b"{}"), (200, "0" * 32, b"junk")):
        Service.answer = answer
        assert search() == 1
    Service.answer = (200, "0" * 32, good)
    asked = len(Service.asked)
    own.chmod(0o755)
    assert search() == 1
    own.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "run")
    assert search() == 1
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(own / "none"))
    assert search() == 1
    assert len(Service.asked) == asked
    monkeypatch.setenv(VARIABLE, f"unix:{own / 'edge-embed'}")
    assert search() == 0
    Service.answer = (200, "1" * 32, good)
    assert main(["search", "tea", "--index", str(file)]) == 1
    assert "are known to be comparable" in capsys.readouterr().err
    assert main(["search", "tea", "--index", str(file), "--top", "0"]) == 1


def test_a_warm_search_imports_no_engine(own: Path, tiny_tokenizer: Path, tmp_path: Path) -> None:
    model, file = fake_model(tiny_tokenizer), tmp_path / "i.db"
    with Index.open(file, model) as index:
        index.add(ITEMS)
    Service.answer = (200, "0" * 32, json.dumps({"data": [{"embedding": model.encode_query("tea").tolist()}]}).encode())
    words = ["search", "tea", "--all", "--index", str(file)]
    heavy = ["onnxruntime", "tokenizers", "edge_embed.embedder", "filelock"]
    code = f"import sys; from edge_embed.cli.main import main; main({words!r}); print(sys.modules.keys() & {heavy!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stdout
