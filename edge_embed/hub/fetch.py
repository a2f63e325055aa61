"""One file of a hub's repository -> the hub's cache: resumed where it stopped, taken in when its hash is right.

huggingface_hub 2.4 begins anew after an interruption and compares sizes alone, so the bytes are fetched here, into its
cache's own layout and under its own locks. Every program that reads that cache finds them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

from edge_embed.errors import CorruptModelError, EdgeEmbedError
from edge_embed.progress import progress
from edge_embed.spec.names import path_fault

from .answers import chunks, head_of, hub_headers, is_transient, raise_for_status, retry, streamed
from .digests import digest_of
from .entries import DIGEST, Entry, Snapshot

PARTIAL = ".edge_embed.incomplete"
ETAG = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*")
CHUNK = 1 << 20  # bytes that count as progress; a hub could send a file by single bytes for days
UNSTATED = 64 << 20  # bytes at most of a file whose size the hub does not say


def fetch_file(snapshot: Snapshot, entry: Entry) -> Path:
    """Return the file in the snapshot, downloading what of it is not in the cache.

    Two processes that ask for one file download it once. Raises CorruptModelError when the hub sends other bytes than
    it promised, else what the hub's client raises.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    place = snapshot.folder / entry.name
    if place.exists():
        return place
    url, etag, size = _ask(snapshot, entry)
    blobs, locks = snapshot.storage / "blobs", snapshot.cache / ".locks" / snapshot.storage.name
    blobs.mkdir(parents=True, exist_ok=True)
    locks.mkdir(parents=True, exist_ok=True)
    blob = blobs / (entry.digest or etag)
    with WeakFileLock(locks / f"{blob.name}.lock"):
        if not blob.exists():
            expected = blob.name if DIGEST.fullmatch(blob.name) else None
            _download(url, blob, Entry(entry.name, expected, size))
        _show(blob, place)
    return place


def _show(blob: Path, place: Path) -> None:
    """Let a file appear under its name, as the hub's client does: by a link, or itself where there are no links.

    The client is not asked to, since it would make a path of whatever ETag and commit the hub answers with then.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)  # a link to a file that is gone
    try:
        place.symlink_to(os.path.relpath(blob, place.parent))
    except OSError:  # Windows, without the right to make links
        os.replace(blob, place)


def bytes_missing(snapshot: Snapshot, entry: Entry) -> int:
    """Return how many bytes of a file are still to be downloaded; 0 where its size is not known."""
    if entry.size is None or (snapshot.folder / entry.name).exists():
        return 0
    blob = snapshot.storage / "blobs" / (entry.digest or entry.name)
    partial = blob.with_name(blob.name + PARTIAL)
    have = next((path.stat().st_size for path in (blob, partial) if path.is_file()), 0)
    return max(0, entry.size - have)


def _ask(snapshot: Snapshot, entry: Entry) -> tuple[str, str, int | None]:
    """Return where the file is, the ETag that names its content, and its size."""
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(snapshot.repo, entry.name, revision=snapshot.commit)
    head = retry(head_of, is_transient)(url)
    etag = head.get("X-Linked-Etag") or head.get("ETag") or ""
    etag = etag.removeprefix("W/").strip('"')
    if not ETAG.fullmatch(etag) or path_fault(etag) or "X-Repo-Commit" not in head:
        raise RuntimeError(f"{url} was answered by something that is no hub: a login page, or a wrong HF_ENDPOINT")
    stated = head.get("X-Linked-Size") or ("" if "Location" in head else head.get("Content-Length") or "")
    size = int(stated) if re.fullmatch("[0-9]{1,15}", stated) else None
    return url, etag, size if entry.size is None else entry.size


def _download(url: str, blob: Path, entry: Entry, anew: bool = False) -> None:
    """Fill the partial file, check it, and give it its name; what is wrong is thrown away, and fetched anew once."""
    partial = blob.with_name(blob.name + PARTIAL)
    try:
        receive = retry(
            _receive,
            lambda error: _may_go_on(error) and not _is_html(partial),
            lambda: partial.stat().st_size // CHUNK if partial.exists() else 0,
        )
        receive(url, partial, entry)
    except OSError:  # a page of another length, from a proxy, is no download to be continued
        if not _is_html(partial):
            raise
    if _is_right(partial, entry):
        os.replace(partial, blob)
        return
    kind, size = "an HTML page" if _is_html(partial) else "other bytes", partial.stat().st_size
    partial.unlink()
    if not anew:
        _download(url, blob, entry, anew=True)
        return
    raise CorruptModelError(
        f"{entry.name}: the hub sent {kind}, {size} bytes, in place of a file of {entry.size} bytes with hash "
        f"{entry.digest}; nothing was kept. Try again; if it stays so, a proxy or mirror on the way changes files"
    )


def _receive(url: str, partial: Path, entry: Entry) -> None:
    """Append the missing bytes and fsync, before the file is renamed."""
    from huggingface_hub import constants

    with partial.open("ab") as file:
        have = file.tell()
        if entry.size is not None and have > entry.size:
            have = _empty(file)
        if have == entry.size:
            return
        headers = hub_headers() | ({"Range": f"bytes={have}-"} if have else {})
        with streamed(url, headers, constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
            raise_for_status(response)
            if response.status_code != 206:  # all of it comes, although the rest was asked for
                have = _empty(file)
            with progress(f"downloading {entry.name}", entry.size, "B", done=have) as step:
                for chunk in chunks(response):
                    step(file.write(chunk))
                    if file.tell() > (UNSTATED if entry.size is None else entry.size):
                        break
        file.flush()
        os.fsync(file.fileno())
        if entry.size is None and file.tell() > UNSTATED:
            _empty(file)
            raise CorruptModelError(
                f"{entry.name}: the hub does not say its size, and sends more than {UNSTATED:,} bytes"
            )
        if entry.size not in (None, file.tell()):
            raise OSError(f"{entry.name} ended after {file.tell()} of {entry.size} bytes")


def _empty(file: BinaryIO) -> int:
    file.seek(0)
    return file.truncate()


def _may_go_on(error: Exception) -> bool:
    """Whether a failed download may go on: the hub was busy, the connection broke; not a full disk, not a 403."""
    if isinstance(error, EdgeEmbedError) or (isinstance(error, OSError) and error.errno is not None):
        return False
    return is_transient(error) or getattr(error, "response", None) is None


def _is_right(path: Path, entry: Entry) -> bool:
    if entry.digest is None:  # a mirror that names no hash: the size is all there is to compare
        return entry.size in (None, path.stat().st_size)
    return digest_of(path, entry.digest, name=entry.name) == entry.digest


def _is_html(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(512).lstrip().lower().startswith((b"<!doctype html", b"<html"))
