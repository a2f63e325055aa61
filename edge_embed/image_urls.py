"""An http or https URL -> the bytes of a picture, with limits on time, size, redirects, type and address.

The host's name is looked up once for each hop and the connection goes to the address that was checked, so a name that
changes its address between the check and the connection gains nothing. Proxies are not used: they would connect
unchecked.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import urljoin, urlsplit

from .errors import InputError

SHOWN = 80  # characters of an address that an error repeats
CHUNK = 1 << 16
REDIRECTS = (301, 302, 303, 307, 308)
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
IP = ipaddress.IPv4Address | ipaddress.IPv6Address
HEADERS = {"User-Agent": "edge-embed", "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}


def fetch(url: str, private: bool, max_bytes: int, max_redirects: int, timeout: float) -> bytes:
    """Download a picture; `private` permits addresses that are not public.

    Raises InputError that names the URL, for whatever goes wrong.
    """
    deadline = time.monotonic() + timeout
    here = url
    for _ in range(max_redirects + 1):
        name = f"{here:.{SHOWN}}"
        try:
            connection, path = _connect(here, private, deadline)
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{name} cannot be reached: {error}; check the address") from error
        try:
            connection.request("GET", path, headers=HEADERS)
            reply = connection.getresponse()
            if reply.status in REDIRECTS and (to := reply.headers.get("Location")):
                here = urljoin(here, to)
                continue
            return _body(reply, name, max_bytes, connection, deadline)
        except TimeoutError as error:
            raise InputError(f"{name} took longer than the limit of {timeout:g} s") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{name} broke off: {error or type(error).__name__}; try again") from error
        finally:
            connection.close()
    raise InputError(f"{url:.{SHOWN}} redirects more than {max_redirects} times, lastly to {here:.{SHOWN}}")


def _connect(url: str, private: bool, deadline: float) -> tuple[http.client.HTTPConnection, str]:
    """Connect to the first address of the host that answers -> the connection, and the path to ask for."""
    parts = urlsplit(url)
    host, secure = parts.hostname, parts.scheme == "https"
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"{url:.{SHOWN}} is no http or https address; check it")
    if parts.username or parts.password:
        raise InputError(f"the address of {host} holds a user's name or password, which is not supported")
    port = parts.port or (443 if secure else 80)
    addresses = list(
        dict.fromkeys(str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    )
    if not private and (hidden := [address for address in addresses if not is_public(address)]):
        raise InputError(
            f"{host} leads to {hidden[0]}, which is not public, and private addresses are switched off here"
        )
    sock = _dial(addresses, port, deadline)
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, port)
    connection.sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host) if secure else sock
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return connection, path


def _dial(addresses: list[str], port: int, deadline: float) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), _left(deadline))
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), _left(deadline))


def is_public(address: str) -> bool:
    """Tell whether an IP address is reachable from anywhere, and so is every IPv4 address that hides inside it."""
    ip: IP = ipaddress.ip_address(address.partition("%")[0])
    hidden: list[IP | None] = []
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return is_public(str(ip.ipv4_mapped))
        hidden = [ip.sixtofour, *(ip.teredo or ())]
        if ip in NAT64:
            hidden.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return ip.is_global and not ip.is_multicast and all(is_public(str(part)) for part in hidden if part)


def _body(
    reply: http.client.HTTPResponse, name: str, max_bytes: int, connection: http.client.HTTPConnection, deadline: float
) -> bytes:
    """Read the body piece by piece, so that neither a long one nor a slow one holds us."""
    if reply.status != 200:
        raise InputError(f"{name} answered {reply.status} {reply.reason}: check the address")
    kind = reply.headers.get_content_type()
    if not kind.startswith("image/") or reply.headers.get("Content-Encoding", "identity") != "identity":
        kind = reply.headers.get("Content-Encoding", "identity").replace("identity", "") or kind
        raise InputError(f"{name} is {kind!r}, not a picture: expected a Content-Type of image/..., uncompressed")
    if (reply.length or 0) > max_bytes:
        raise InputError(f"{name} has {reply.length:,} bytes, the limit is {max_bytes:,}")
    parts, size = [], 0
    while True:
        if connection.sock:
            connection.sock.settimeout(_left(deadline))
        chunk = reply.read1(CHUNK)
        if not chunk:
            break
        parts.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise InputError(f"{name} has more than the limit of {max_bytes:,} bytes")
    if reply.length:
        raise InputError(f"{name} broke off {reply.length:,} bytes before its end; try again")
    return b"".join(parts)


def _left(deadline: float) -> float:
    """Return the seconds left; raise TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
