"""The keys that callers must have, from files, compared so that the time tells nothing."""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from edge_embed.errors import InputError

from .ask import Failure

logger = logging.getLogger("edge_embed.server")
CREDENTIAL = "api-keys"  # of systemd's LoadCredential=
HEADERS = (b"authorization", b"x-api-key", b"api-key")
Headers = Iterable[tuple[bytes, bytes]]


class Keys:
    """The keys of a file and of systemd's credentials, one a line, `#` begins a comment; without both all are let in.

    Raises InputError for a file that cannot be read or holds no key.
    """

    def __init__(self, file: Path | None) -> None:
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        credential = Path(credentials, CREDENTIAL) if credentials else None
        self._files = [path for path in (file, credential if credential and _is_there(credential) else None) if path]
        self._keys = self._read()

    def __bool__(self) -> bool:
        return bool(self._files)

    def reload(self) -> None:
        """Read the files again; the former keys stay where that cannot be done."""
        try:
            self._keys = self._read()
        except InputError as error:
            logger.error("the former keys stay: %s", error)
        else:
            logger.info("%d keys were read", len(self._keys))

    def check(self, headers: Headers) -> None:
        """Raise Failure unless one of the headers that clients send keys in holds one of ours."""
        if not self._files:
            return
        given = [_key(name, value) for name, value in headers if name in HEADERS]
        fits = False
        for candidate in given:
            for key in self._keys:
                fits |= hmac.compare_digest(candidate, key)
        if not fits:
            what = "the key is not one of this server's" if given else "this server asks for a key"
            raise Failure(
                status=401,
                reason="unauthorized",
                message=f"{what}: send it as Authorization: Bearer KEY, as api-key or as x-api-key",
            )

    def _read(self) -> list[bytes]:
        found: list[bytes] = []
        for path in self._files:
            try:
                lines = path.read_bytes().splitlines()
            except OSError as error:
                raise InputError(f"the keys cannot be read: {error}; give a file with one key a line") from error
            stripped = (line.strip() for line in lines)
            found += [line for line in stripped if line and not line.startswith(b"#")]
        if self._files and not found:
            raise InputError(f"{self._files[0]} holds no key: write one a line, such as `openssl rand -hex 32` prints")
        return found


def _is_there(path: Path) -> bool:
    """Whether a file exists; one that may not be looked at counts, so that reading it says so."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _key(name: bytes, value: bytes) -> bytes:
    scheme, _, rest = value.partition(b" ")
    return rest.strip() if name == b"authorization" and scheme.lower() == b"bearer" else value.strip()
