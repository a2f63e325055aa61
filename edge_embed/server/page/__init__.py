"""The page that a browser gets: texts in, similarities out, from files that are sent as they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from edge_embed.server import exchange as exchanges

HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cache-control": "no-cache",  # kept, and asked for again with its tag, since an update changes it
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FILES = {"/": "index.html", **{f"/page/{name}": name for name in ("page.css", "page.js", "favicon.svg")}}


class File:
    """Answers with one file of this folder, or that it has not changed."""

    def __init__(self, path: str, name: str) -> None:
        file = Path(__file__).with_name(name)
        self._path, self._data = path, file.read_bytes()
        tag = hashlib.blake2b(self._data, digest_size=12).hexdigest()
        self._headers = {**HEADERS, "etag": f'"{tag}"', "content-type": KINDS[file.suffix]}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        known = Headers(scope=scope).get("if-none-match", "").replace("W/", "").split(",")
        same = self._headers["etag"] in (tag.strip() for tag in known)
        response = Response(None if same else self._data, 304 if same else 200, self._headers)
        exchange = exchanges.of(scope)
        exchange.route, exchange.status = self._path, response.status_code
        response.headers["x-request-id"] = exchange.request_id
        await response(scope, receive, send)


def _route(path: str, name: str) -> Route:
    """Make a route for GET alone: `HEAD /` and `POST /` are other APIs'."""
    route = Route(path, File(path, name), include_in_schema=False)
    route.methods = {"GET"}
    return route


ROUTES = [_route(path, name) for path, name in FILES.items()]
