"""A query's vector from a service that keeps the model loaded: `edge-embed serve`, on a port or a socket's file."""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import BackendError, InputError, SearchIndexError

from .meta import Meta

KEY = "EDGE_EMBED_API_KEY"  # the variable with a key of the service
SECONDS = 60.0
MOST_ANSWER = 8 << 20  # bytes
SHOWN = 300  # letters of an answer that an error repeats


def encode_query(server: str, text: str, meta: Meta, seconds: float = SECONDS) -> NDArray[np.float32]:
    """Ask a service, `http://HOST:PORT` or `unix:PATH`, for a query's vector (dims,); wait so many seconds at most.

    Raises InputError for an address that is none, BackendError where nothing sensible answers, and SearchIndexError for
    a model of another vector space than the index's, or one that cannot be told.
    """
    asked = {"input": [text], "input_type": "query", "dimensions": meta.dims, "encoding_format": "float"}
    status, fingerprint, body = _post(server, json.dumps(asked).encode(), seconds)
    if status != 200:
        raise BackendError(f"{server} answers {status}: {body[:SHOWN].decode('utf-8', 'replace')}")
    if not fingerprint or fingerprint != meta.fingerprint:
        raise SearchIndexError(
            f"{server} serves a model whose vectors are not known to be comparable with those of {meta.name}: serve "
            f"{meta.model or meta.name}, or leave --server out"
        )
    try:
        vector = np.array(json.loads(body)["data"][0]["embedding"], np.float32)
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise BackendError(f"{server} gives no vector: {body[:SHOWN].decode('utf-8', 'replace')}") from error
    if vector.shape != (meta.dims,) or not np.isfinite(vector).all():
        raise BackendError(f"{server} gives a vector of shape {vector.shape}, expected finite numbers ({meta.dims},)")
    return vector


def _post(server: str, body: bytes, seconds: float) -> tuple[int, str | None, bytes]:
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY):
        headers["Authorization"] = f"Bearer {key}"
    connection, path = _connection(server, seconds)
    try:
        connection.request("POST", f"{path}/v1/embeddings", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("edge-embed-fingerprint"), answer.read(MOST_ANSWER)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise BackendError(f"{server} does not answer: {error}; start it with edge-embed serve") from error
    finally:
        connection.close()


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
