"""A query's vector from a service that keeps the model loaded: `edge-embed serve`, on a port or a socket's file."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import BackendError, InputError, SearchIndexError

from .meta import Meta
from .probes import SAME, TEXTS, agreement

KEY = "EDGE_EMBED_API_KEY"  # the variable with a key of the service
SECONDS = 60.0
MOST_ANSWER = 8 << 20  # bytes
SHOWN = 300  # letters of an answer that an error repeats


def encode_query(server: str, text: str, meta: Meta, seconds: float = SECONDS) -> NDArray[np.float32]:
    """Ask a service, `http://HOST:PORT` or `unix:PATH`, for a query's vector (dims,); wait so many seconds at most.

    Of several models that one is asked whose vectors are the index's; where a fingerprint is missing, vectors of known
    texts tell. Raises InputError for an address that is none, BackendError where nothing sensible answers, and
    SearchIndexError where no model is of the index's vector space.
    """
    with contextlib.closing(Service(server, seconds)) as service:
        served = _served(service.send("GET", "/v1/models"))
        name = _model_for(meta, served)
        if served and name is None:
            raise _another(server, meta)
        vectors, fingerprint = _vectors(service, meta, name, "query", [text])
        if meta.fingerprint and fingerprint:
            same = meta.fingerprint == fingerprint
        else:
            probes, _ = _vectors(service, meta, name, "document", TEXTS)
            same = agreement(meta, probes, f"the index of {meta.name}") >= SAME
    if not same:
        raise _another(server, meta)
    found: NDArray[np.float32] = vectors[0]
    return found


def _vectors(
    service: Service, meta: Meta, model: str | None, side: str, texts: Sequence[str]
) -> tuple[NDArray[np.float32], str | None]:
    """Have texts embedded -> vectors (n, dims), and the fingerprint that the service states."""
    asked = {"input": list(texts), "input_type": side, "dimensions": meta.dims, "encoding_format": "float"}
    if model is not None:
        asked["model"] = model
    status, fingerprint, body = service.send("POST", "/v1/embeddings", json.dumps(asked).encode())
    if status != 200:
        raise BackendError(f"{service.address} answers {status}: {body[:SHOWN].decode('utf-8', 'replace')}")
    try:
        vectors = np.array([entry["embedding"] for entry in json.loads(body)["data"]], np.float32)
        if not len(vectors):
            raise ValueError("no entry")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        told = body[:SHOWN].decode("utf-8", "replace")
        raise BackendError(f"{service.address} gives no vector: {told}") from error
    if vectors.shape != (len(texts), meta.dims) or not np.isfinite(vectors).all():
        raise BackendError(
            f"{service.address} gives vectors of shape {vectors.shape}, expected finite numbers {len(texts), meta.dims}"
        )
    return vectors, fingerprint


def _another(server: str, meta: Meta) -> SearchIndexError:
    return SearchIndexError(
        f"{server} serves no model whose vectors are known to be comparable with those of {meta.name}: serve "
        f"{meta.model or meta.name}, or leave --server out"
    )


def _served(answer: Reply) -> list[tuple[str, dict[str, Any]]]:
    """Read the list of models -> names and facts; empty where a service tells none, and has but one for all."""
    try:
        entries = json.loads(answer.body)["data"] if answer.status == 200 else []
        return [(str(entry["id"]), dict(entry["edge_embed"])) for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _model_for(meta: Meta, served: list[tuple[str, dict[str, Any]]]) -> str | None:
    """Name the model with the index's fingerprint, or else one that may turn out to be it, of the same name first."""
    same, perhaps = [], []
    for name, facts in served:
        tasks = facts.get("tasks") or []
        if meta.task and tasks:
            if meta.task not in tasks or ":" in name:
                continue
            name = f"{name}:{meta.task}"
        known = facts.get("fingerprint")
        if known and known == meta.fingerprint:
            same.append(name)
        elif tasks or not (known and meta.fingerprint):  # of one of several tasks it is known once that is loaded
            perhaps.append(name)
    perhaps.sort(key=lambda name: name.partition(":")[0] != meta.name)
    return next(iter([*same, *perhaps]), None)


class Reply(NamedTuple):
    """What a service answers."""

    status: int
    fingerprint: str | None
    body: bytes


class Service:
    """A connection to a service, for one request after another."""

    def __init__(self, server: str, seconds: float) -> None:
        self.address = server
        self._connection, self._path = _connection(server, seconds)

    def send(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """Ask; raise BackendError where nothing answers."""
        headers = {"Content-Type": "application/json"} if body else {}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        try:
            self._connection.request(method, f"{self._path}{path}", body, headers)
            answer = self._connection.getresponse()
            return Reply(answer.status, answer.headers.get("edge-embed-fingerprint"), answer.read(MOST_ANSWER))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BackendError(f"{self.address} does not answer: {error}; start it with edge-embed serve") from error

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def _connection(server: str, seconds: float) -> tuple[http.client.HTTPConnection, str]:
    if server.startswith("unix:"):
        return _Unix(server.removeprefix("unix:"), seconds), ""
    try:
        parts = urlsplit(server)
        kinds: Any = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        return kinds[parts.scheme](parts.hostname, parts.port, timeout=seconds), parts.path.rstrip("/")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{server!r} is no service's address: give http://HOST:PORT, or unix:PATH") from error


class _Unix(http.client.HTTPConnection):
    """HTTP over a socket's file."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path, self._seconds = path, seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._seconds)
        self.sock.connect(self._path)
