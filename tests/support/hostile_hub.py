"""A hub that lies: in its listing, in the headers of a file, in its bodies. What it tries is drawn by a seed.

`Worker` code runs beside it with an audit hook, which notes every path that Python opens to write, makes or renames.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from support.hub_server import API, WORKER, Handler, HubServer

NAMES = (
    *("../x", "../../../../x", "a/../../../x", "/x", "//x", "C:/x", "C:\\x", "..\\..\\x", "~/x", ".", "..", ""),
    *("a\0b", "a\x1b[2Jb.json", "a\nb", "nul", "aux.json", "x" * 300, "x/" * 2000 + "x", "\ud800", "a//b", "a/"),
    *("adapters/../../x/adapter_config.json", "adapters/../x/adapter_model.safetensors", "../Pooling/config.json"),
    *("onnx/../../../x.onnx", "model-00001-of-00002.safetensors", "config.json/config.json", "README.md/x"),
)
PATHS = ("../../../../x", "/x", "..", ".", "a/b", "a\\b", "", "main", "0" * 39, "A" * 40, "a\x1b[2J", "x" * 5000)
NUMBERS = (-1, 0, 1, 2**31, 10**15, 2**62, 2**70, 10**400, 1e308, True, None, "12", [], {})
VALUES = (*NUMBERS, *PATHS, [[]], {"a": []}, "\x1b]0;x\x07", ["a"] * 50)
TARGETS = (
    "file:///etc/passwd",
    "ftp://a/b",
    "http://[::1",
    "//",
    "/",
    "../../x",
    "http://",
    "x",
    "\x7f",
    "javascript:0",
)
STATUSES = (204, 206, 301, 302, 304, 307, 400, 401, 403, 404, 416, 418, 429, 451, 500, 503)
BODIES = (
    *(b"", b"null", b"[]", b"7", b"[" * 200_000, b'{"a":' * 100_000, b"{", b"\xff\xfe{\0", b"<html>", b"NaN"),
    *(b'{"sha": ' + b"9" * 10_000 + b"}", b'{"siblings": {}}', b'{"sha": "' + b"0" * 40 + b'"}', b" " * (20 << 20)),
)
ENDLESS = b"x" * (1 << 16)
CLOSE = {"Connection": "close"}
Answer = tuple[int, dict[str, str], bytes, bool]  # status, headers, body; whether the body is sent for ever
Spoil = Callable[[str, Answer], Answer]  # the path that was asked for, and what an honest hub answers


class HostileHandler(Handler):
    """Spoil what an honest hub would answer."""

    server: HostileHub

    def do_GET(self) -> None:
        """Note a token that came where none belongs, then answer."""
        if self.server.stranger:
            self.server.tokens += filter(None, [self.headers.get("Authorization")])
        super().do_GET()

    do_HEAD = do_GET

    def _reply(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", cut: bool = False
    ) -> None:
        answer: Answer = (status, dict(headers or {}), body, False)
        for spoil in self.server.spoils:
            answer = spoil(self.path.partition("?")[0], answer)
        status, sent, body, endless = answer
        with contextlib.suppress(OSError, UnicodeError):
            self.send_response_only(status)
            length = {} if endless else {"Content-Length": str(len(body))}
            for key, value in (CLOSE | length | sent).items():
                self._headers_buffer.append(f"{key}: {value}\r\n".encode("latin-1", "replace"))  # type: ignore[attr-defined]
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
                while endless and not self.server.closed:
                    self.wfile.write(ENDLESS)
        self.close_connection = True


class HostileHub(HubServer):
    """Serves what was pushed, spoilt; `stranger`: it is another host, to which no token may come."""

    def __init__(self, stranger: bool = False) -> None:
        super().__init__(HostileHandler)
        self.spoils: list[Spoil] = []
        self.stranger, self.closed = stranger, False

    def __exit__(self, *error: object) -> None:
        self.closed = True
        super().__exit__(*error)

    def handle_error(self, *args: object) -> None:
        """Stay silent about clients that went away."""


def draw_spoil(draw: random.Random, elsewhere: str) -> tuple[str, Spoil]:
    """Draw one lie; return what it is, and the function that tells it. `elsewhere` is another host's address."""
    kind = draw.choice(
        [_listing_name, _listing_value, _listing_body, _many, _header, _header, _redirect, _status, _body]
    )
    return kind(draw, elsewhere)


def on_listing(change: Callable[[Any], Any]) -> Spoil:
    """Return what changes the parsed listing, or puts bytes in its place."""

    def spoil(path: str, answer: Answer) -> Answer:
        status, headers, body, _ = answer
        if status != 200 or not API.fullmatch(path):
            return answer
        changed = change(json.loads(body))
        return status, headers, changed if isinstance(changed, bytes) else json.dumps(changed).encode(), False

    return spoil


def _listing_name(draw: random.Random, _: str) -> Any:
    name, replaced, digest = draw.choice(NAMES), draw.randrange(4), draw.choice(("0" * 64, *PATHS))

    def change(listing: Any) -> Any:
        files = listing["siblings"]
        if replaced == 0:
            files[draw.randrange(len(files))]["rfilename"] = name
        elif replaced == 1:
            files.append({**copy.deepcopy(draw.choice(files)), "rfilename": name})
        else:
            files.append({"rfilename": name, "size": 9, "blobId": digest, "lfs": {"sha256": digest, "size": 9}})
        return listing

    return f"a file called {name!r:.40}", on_listing(change)


def _listing_value(draw: random.Random, _: str) -> Any:
    key = draw.choice(("sha", "siblings", "size", "blobId", "lfs", "rfilename", "cardData", "tags", "licence"))
    value, at = draw.choice(VALUES), draw.random()

    def change(listing: Any) -> Any:
        if key in ("sha", "siblings", "cardData", "tags"):
            listing[key] = value
        elif key == "licence":
            listing["cardData"] = {"license": value, "license_name": value}
        else:
            file = listing["siblings"][int(at * len(listing["siblings"]))]
            file[key] = value
            if "lfs" in file and isinstance(file["lfs"], dict) and key in ("size", "blobId"):
                file["lfs"]["size" if key == "size" else "sha256"] = value
        return listing

    return f"{key} {value!r:.40}", on_listing(change)


def _listing_body(draw: random.Random, _: str) -> Any:
    body = draw.choice(BODIES)
    if draw.random() < 0.15:
        return "an endless listing", lambda path, answer: (*answer[:3], True) if API.fullmatch(path) else answer
    return f"the listing {body!r:.40}", on_listing(lambda listing: body)


def _many(draw: random.Random, _: str) -> Any:
    name, count = draw.choice(
        (("a{}Pooling/config.json", 100), ("f{}.json", 60_000), ("model-{}-of-9.safetensors", 300))
    )

    def change(listing: Any) -> Any:
        extra = [{"rfilename": name.format(n), "size": 2, "blobId": f"{n:040x}"} for n in range(count)]
        listing["siblings"] += extra
        return listing

    return f"{count} files", on_listing(change)


def _on_file(draw: random.Random, change: Callable[[Answer], Answer]) -> Spoil:
    """Spoil what is said of some files, always the same."""
    salt, share = draw.random(), draw.choice((0.2, 1.0))

    def spoil(path: str, answer: Answer) -> Answer:
        chosen = random.Random(f"{salt}{path}").random() < share
        return change(answer) if chosen and not API.fullmatch(path) else answer

    return spoil


def _header(draw: random.Random, _: str) -> Any:
    key = draw.choice(("ETag", "X-Linked-Etag", "X-Repo-Commit", "X-Linked-Size", "Content-Length", "Content-Range"))
    if key in ("X-Linked-Size", "Content-Length"):
        value = str(draw.choice((-1, 0, 1, 10**6, 10**30, "x", "1, 2", "")))
    else:
        value = draw.choice(PATHS).replace("\n", "")
        value = draw.choice((value, f'"{value}"', f'W/"{value}"'))
    also = {"Content-Encoding": draw.choice(("gzip", "br", "x"))} if draw.random() < 0.1 else {}
    spoil = _on_file(draw, lambda answer: (answer[0], {**answer[1], key: value, **also}, *answer[2:]))
    return f"{key}: {value!r:.40}", spoil


def _redirect(draw: random.Random, elsewhere: str) -> Any:
    to = draw.choice((*TARGETS, f"{elsewhere}/user/m/resolve/main/config.json", f"{elsewhere}/x"))
    status = draw.choice((301, 302, 303, 307, 308))
    if draw.random() < 0.2:
        return f"all redirected to {to!r:.40}", lambda path, answer: (status, {"Location": to}, b"", False)
    spoil = _on_file(draw, lambda answer: (status, {**answer[1], "Location": to}, b"", False))
    return f"redirected to {to!r:.40}", spoil


def _status(draw: random.Random, _: str) -> Any:
    status = draw.choice(STATUSES)
    code = draw.choice(("", "RepoNotFound", "EntryNotFound", "GatedRepo", "\x1b[2J", "RevisionNotFound"))
    body = draw.choice((b"", b"[]", b'{"error": {}}', b'{"error": ["\\u001b[2J"]}', b'{"errors": 7}', b"[" * 90_000))
    headers = {"X-Error-Code": code, "X-Error-Message": "a\x1b[2Jb", "Content-Type": "application/json"}
    endless = draw.random() < 0.2
    return f"status {status}", _on_file(draw, lambda answer: (status, {**answer[1], **headers}, body, endless))


def _body(draw: random.Random, _: str) -> Any:
    how = draw.choice(("endless", "short", "long", "other", "gzip", "bomb", "deep"))

    def change(answer: Answer) -> Answer:
        status, headers, body, _ = answer
        if how == "endless":
            return status, headers, body, True
        if how in ("gzip", "bomb"):
            packed = gzip.compress(b"\0" * (100 << 20 if how == "bomb" else 100), 1)
            return status, {**headers, "Content-Encoding": "gzip"}, packed, False
        length = {"Content-Length": str(len(body))} if how in ("short", "long") else {}
        made = {"short": body[: len(body) // 2], "long": body * 3, "other": b"{}", "deep": b"[" * 100_000}[how]
        return status, {**headers, **length}, made, False

    return f"{how} bodies", _on_file(draw, change)


# Notes every path that is written to, before anything of ours is imported; `written` answers and forgets them.
HOOK = """
import faulthandler, os, signal, sys
faulthandler.register(signal.SIGUSR1)  # where it hangs
_paths = set()

def _note(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path, mode, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            _paths.add(os.path.abspath(os.fsdecode(path)))
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate"):
        if isinstance(arguments[0], (str, bytes)) and (event == "os.truncate" or arguments[-1] == -1):
            _paths.add(os.path.abspath(os.fsdecode(arguments[0])))
    elif event in ("os.rename", "os.link", "os.symlink"):
        _paths.update(os.path.abspath(os.fsdecode(path)) for path in arguments[event == "os.symlink" : 2])

sys.addaudithook(_note)
"""
EXTRA = """
import resource
from edge_embed.loading.find import find_model

def look(model, cache_dir):
    with find_model(load_request(model, cache_dir=cache_dir), look=True) as found:
        return str(found.model.folder), found.model.levels()

def written():
    found = sorted(_paths)
    _paths.clear()
    return str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss), found

for line in sys.stdin:"""
HOSTILE_WORKER = HOOK + WORKER.replace("for line in sys.stdin:", EXTRA.lstrip("\n"))
