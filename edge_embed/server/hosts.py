"""The names by which a server that asks for no key may be called, so that no other site's page reaches it.

A page may have its own name lead to this machine once it is loaded (DNS rebinding), and then ask as if it came from
here. It cannot choose what its browser sends as Host: the page's name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from .ask import Failure

RESERVED = ("localhost", "local", "internal", "lan", "home.arpa", "test")  # nobody can register a name below these


class Hosts:
    """What requests may give as Host: addresses, names without a dot or of a local network, and `allowed` ones."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = {name.lower().rstrip(".") for name in allowed}

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise Failure where a request was sent to another name; one without Host is no browser's."""
        for name in (value.decode("latin-1") for key, value in headers if key == b"host"):
            if not self._is_ours(_without_port(name.strip().lower()).rstrip(".")):
                raise Failure(
                    status=403,
                    reason="forbidden",
                    message="this server asks for no key, so it answers to addresses and local names alone, not to "
                    "what the request has as Host: start it with --allow-host NAME, or with --api-key-file",
                )

    def _is_ours(self, name: str) -> bool:
        if "." not in name or name in self._allowed or _is_address(name):
            return True
        return any(name.endswith(f".{ending}") for ending in RESERVED)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
