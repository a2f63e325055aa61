"""What a hub answers, read within limits: its listing of a repository, and the bodies of its errors.

A hub is somebody else's machine, and so is what stands between it and us: no answer is read that has no end.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from edge_embed.errors import ModelNotFoundError
from edge_embed.spec.names import is_commit

from .entries import Entry, listed_file

LISTING = 16 << 20  # bytes; the hub's of 10,000 files has 2.5 million
FILES = 50_000
ERROR, SHOWN = 1 << 16, 500  # bytes of an error's body, and characters of what it says
BODY_HEADERS = ("content-encoding", "content-length", "content-type", "transfer-encoding")
SECONDS = 60.0  # for a listing as a whole
REDIRECTS = 5
WAITS: tuple[float, ...] = (1, 2, 4)  # seconds before each new try of what the hub could not do just then
BUSY = (429, 500, 502, 503, 504)
Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")


@dataclass(frozen=True)
class Described:
    """A revision as the hub describes it: its commit, its files by name, and the licence that its card names."""

    commit: str
    entries: Mapping[str, Entry]
    licence: str | None


def describe(repo: str, revision: str | None) -> Described:
    """Ask the hub for a revision's commit and files.

    Names that cannot be paths below a folder are left out: nothing of a model is called so. Raises ModelNotFoundError
    for a listing that is too long or that names no commit, else what the hub's client raises.
    """
    answer = _ask(repo, revision)
    commit, files = answer.get("sha"), answer.get("siblings")
    if not is_commit(commit):
        raise ModelNotFoundError(
            f"{repo}: the hub names the commit {commit!r:.100}, which is none: expected 40 hex digits"
        )
    if not isinstance(files, list) or len(files) > FILES:
        count = f"{len(files):,} files" if isinstance(files, list) else "no files"
        raise ModelNotFoundError(f"{repo}: the hub lists {count}; expected a list of at most {FILES:,}")
    found = (_listed(file) for file in files)
    return Described(str(commit), {entry.name: entry for entry in found if entry}, _licence(answer))


def hub_headers() -> dict[str, str]:
    """Return the headers of every request to the hub: who asks, and the user's token, as the hub's client finds it.

    The client's own headers tell of the machine as well, and are made with a list that the hub is asked for first.
    """
    from huggingface_hub import constants, get_token

    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    asked_by = {"User-Agent": "edge-embed", "Accept-Encoding": "identity"}
    return asked_by | ({"Authorization": f"Bearer {token}"} if token else {})


def head_of(url: str) -> Mapping[str, str]:
    """Return the headers that the hub itself has of a file; its storage, to which it redirects, is not asked."""
    from huggingface_hub import constants, get_session

    for _ in range(REDIRECTS):
        timeout = constants.HF_HUB_ETAG_TIMEOUT
        response = get_session().request("HEAD", url, headers=hub_headers(), timeout=timeout, follow_redirects=False)
        raise_for_status(response)
        target = urljoin(url, response.headers.get("Location", url))
        if target == url or urlsplit(target)[:2] != urlsplit(url)[:2]:
            found: Mapping[str, str] = response.headers
            return found
        url = target
    raise OSError(f"the hub redirects more than {REDIRECTS} times, lastly to {url:.200}")


@contextmanager
def streamed(
    url: str, headers: Mapping[str, str], timeout: float, params: Mapping[str, Any] | None = None
) -> Iterator[Any]:
    """Ask for what is read in parts -> the answer where the redirects end, its body unread.

    The HTTP library would read the bodies of redirects, and they may have no end. It strips the token for other hosts.
    """
    from huggingface_hub import get_session

    session = get_session()
    request = session.build_request("GET", url, headers=dict(headers), timeout=timeout, params=params)
    for _ in range(REDIRECTS + 1):
        response = session.send(request, stream=True, follow_redirects=False)
        with closing(response):
            if not response.has_redirect_location:
                yield response
                return
            if response.next_request is None:
                raise OSError(f"the hub redirects to {response.headers['Location']!r:.200}, which is no address")
            request = response.next_request
    raise OSError(f"the hub redirects more than {REDIRECTS} times, lastly to {request.url!s:.200}")


def raise_for_status(response: Any) -> None:
    """Raise what the hub's client raises for an answer's status, after so much of its body as an error can need."""
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    if not response.is_error:
        return
    try:
        told = json.loads(read(response, ERROR))
    except (ValueError, RecursionError, OSError):  # such as a body that is packed, or drips
        told = None
    message = told.get("error") if isinstance(told, dict) else None
    body = json.dumps({"error": message[:SHOWN]}) if isinstance(message, str) else ""
    headers = {key: value for key, value in response.headers.items() if key.lower() not in BODY_HEADERS}
    hf_raise_for_status(type(response)(response.status_code, headers=headers, text=body, request=response.request))


def retry(
    call: Callable[Arguments, Answer],
    passes: Callable[[Exception], bool],
    progress: Callable[[], int] = lambda: 0,
) -> Callable[Arguments, Answer]:
    """Return a function that calls again after each of WAITS while `call` raises what passes.

    After progress the waits begin anew.
    """

    @functools.wraps(call)
    def patient(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        tries, furthest = 0, progress()
        while True:
            try:
                return call(*args, **kwargs)
            except Exception as error:  # whatever it is, the caller's rule says whether it passes
                if (now := progress()) > furthest:
                    tries, furthest = 0, now
                if tries == len(WAITS) or not passes(error):
                    raise
            time.sleep(WAITS[tries])
            tries += 1

    return patient


def is_transient(error: Exception) -> bool:
    """Whether the hub answered that it is busy, so that a later call may succeed."""
    return getattr(getattr(error, "response", None), "status_code", None) in BUSY


def _ask(repo: str, revision: str | None) -> dict[str, Any]:
    from huggingface_hub import constants
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    validate_repo_id(repo)
    url = f"{constants.ENDPOINT}/api/models/{repo}"
    if revision is not None:
        url += f"/revision/{quote(revision, safe='')}"
    headers, timeout = hub_headers(), constants.HF_HUB_ETAG_TIMEOUT
    with streamed(url, headers, timeout, {"blobs": True}) as response:
        raise_for_status(response)
        data = read(response, LISTING + 1)
    if len(data) > LISTING:
        raise ModelNotFoundError(f"{repo}: the hub's listing has more than {LISTING >> 20} MB")
    try:
        answer = json.loads(data)
    except RecursionError as error:
        raise ValueError("a listing that is nested too deep") from error
    if not isinstance(answer, dict):
        raise ValueError(f"a listing that is {type(answer).__name__}, not an object")
    return answer


def chunks(response: Any, seconds: float | None = None) -> Iterator[bytes]:
    """Yield a body's bytes as they come, within so many seconds where that is said.

    They are never unpacked, which was not asked for: some bytes can become as many as there are, or nothing for ever.
    Raises OSError for a packed body, TimeoutError.
    """
    if (packing := response.headers.get("Content-Encoding", "identity")) != "identity":
        raise OSError(f"the hub packed its answer ({packing!r:.20}), although it was asked not to")
    deadline = None if seconds is None else time.monotonic() + seconds
    for chunk in [] if response.is_stream_consumed else response.iter_raw():  # HEAD's answer has no body
        yield chunk
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError(f"the hub took longer than {seconds:g} s for an answer")


def read(response: Any, most: int, seconds: float = SECONDS) -> bytes:
    """Read a body until it ends or has `most` bytes; the rest is cut off. Raises as `chunks` does."""
    data = bytearray()
    for chunk in chunks(response, seconds):
        data += chunk
        if len(data) >= most:
            break
    return bytes(data[:most])


def _listed(file: object) -> Entry | None:
    if not isinstance(file, dict):
        return None
    lfs = file.get("lfs")
    if isinstance(lfs, dict):
        return listed_file(file.get("rfilename"), lfs.get("sha256"), lfs.get("size"))
    return listed_file(file.get("rfilename"), file.get("blobId"), file.get("size"))


def _licence(answer: Mapping[str, Any]) -> str | None:
    """Return the licence that the model's card names."""
    card, tags = answer.get("cardData"), answer.get("tags")
    card, tags = card if isinstance(card, dict) else {}, tags if isinstance(tags, list) else []
    named = card.get("license_name") or card.get("license")
    tagged = (str(tag).partition(":")[2] for tag in tags if str(tag).startswith("license:"))
    found = named or next(tagged, None)
    return f"{found!s:.200}" if found else None
