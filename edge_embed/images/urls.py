"""An http or https URL -> the bytes of an image, with limits on time, size, redirects, type and address.

The host's name is looked up once for each hop and the connection goes to the address that was checked, so a name that
changes its address between the check and the connection gains nothing. Proxies are not used: they would connect
unchecked.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import queue
import socket
import ssl
import threading
import time
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from edge_embed.errors import InputError

SHOWN = 80  # characters of an address that an error repeats
CHUNK = 1 << 16
SAFE = "/%:@!$&'()*+,;=?~"  # what may stand in a path or query as it is
REDIRECTS = (301, 302, 303, 307, 308)
LOOKUPS = threading.BoundedSemaphore(16)  # names that are being looked up; one that hangs cannot be called off
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What is_global lets through, in one version of Python or another: multicast, 6to4 relays, and Azure's own server. Of
# IPv6 only global unicast counts, less Teredo and its neighbours, examples, and the 6bone: so site-local addresses,
# local NAT64 (64:ff9b:1::/48), ::/96 and 5f00::/16 are closed.
CLOSED_V4 = [ipaddress.IPv4Network(text) for text in ("224.0.0.0/4", "192.88.99.0/24", "168.63.129.16/32", "0.0.0.0/8")]
GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
CLOSED_V6 = [ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20", "3ffe::/16")]
IP = ipaddress.IPv4Address | ipaddress.IPv6Address
HEADERS = {"User-Agent": "edge-embed", "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}


def fetch(url: str, private: bool, max_bytes: int, max_redirects: int, timeout: float) -> bytes:
    """Download an image; `private` permits addresses that are not public, `timeout` is in seconds for all together.

    Raises InputError that names the URL, for whatever goes wrong.
    """
    deadline = time.monotonic() + timeout
    here = url
    for _ in range(max_redirects + 1):
        try:
            answer = _get(here, private, max_bytes, deadline)
        except InputError:
            raise
        except (OSError, http.client.HTTPException, RuntimeError, ValueError) as error:
            name = f"{here:.{SHOWN}}"
            if time.monotonic() >= deadline:
                raise InputError(f"{name} took longer than the limit of {timeout:g} s") from error
            raise InputError(f"{name} cannot be fetched: {error or type(error).__name__}; check the address") from error
        if isinstance(answer, bytes):
            return answer
        here = urljoin(here, answer)
    raise InputError(f"{url:.{SHOWN}} redirects more than {max_redirects} times, lastly to {here:.{SHOWN}}")


def _get(url: str, private: bool, max_bytes: int, deadline: float) -> bytes | str:
    """Ask once -> the body, or the address that the answer redirects to."""
    name, parts = f"{url:.{SHOWN}}", urlsplit(url)
    host, secure = parts.hostname, parts.scheme == "https"
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"{name} is no http or https address; check it")
    if parts.username or parts.password:
        raise InputError(f"the address of {host} holds a user's name or password, which is not supported")
    port = parts.port or (443 if secure else 80)
    connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(host, port)
    sock = _dial(_addresses(host, port, private, deadline), port, deadline)
    if secure:
        sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    # A timeout of the socket's own starts anew with every byte: a timer ends what drips.
    timer = threading.Timer(_left(deadline), _hang_up, [sock])
    timer.start()
    try:
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        connection.sock = sock
        path = quote(parts.path or "/", SAFE) + (f"?{quote(parts.query, SAFE)}" if parts.query else "")
        connection.request("GET", path, headers=HEADERS)
        with connection.getresponse() as reply:
            if reply.status in REDIRECTS and (to := reply.headers.get("Location")):
                return to
            return _body(reply, name, max_bytes, deadline)
    finally:
        timer.cancel()
        sock.close()


def _addresses(host: str, port: int, private: bool, deadline: float) -> list[str]:
    """Look the host's name up, and refuse it for any address that is not permitted."""
    found = _look_up(host, port, deadline)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not private and (hidden := [address for address in addresses if not is_public(address)]):
        raise InputError(
            f"{host} leads to {hidden[0]}, which is not public, and private addresses are switched off here"
        )
    return addresses


def _look_up(host: str, port: int, deadline: float) -> list[Any]:
    """Return what the system's resolver says, which has no time-out of its own; raise TimeoutError at the deadline."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lookups = LOOKUPS

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # raised where the answer is waited for
            answers.put(error)
        finally:
            lookups.release()

    if not lookups.acquire(timeout=_left(deadline)):
        raise TimeoutError
    try:
        threading.Thread(target=ask, name="edge_embed.look_up", daemon=True).start()
    except RuntimeError:  # no thread can be started
        lookups.release()
        raise
    try:
        found = answers.get(timeout=_left(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, Exception):
        raise found
    return list(found)


def _hang_up(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it hung up by itself
        sock.shutdown(socket.SHUT_RDWR)


def _dial(addresses: list[str], port: int, deadline: float) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), _left(deadline))
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), _left(deadline))


def is_public(address: str) -> bool:
    """Tell whether an IP address is reachable from anywhere, and so is the IPv4 address that hides inside it."""
    ip: IP = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not any(ip in network for network in CLOSED_V4)
    hidden = ip.ipv4_mapped or ip.sixtofour
    if ip in NAT64:
        hidden = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if hidden is not None:
        return is_public(str(hidden))
    return ip in GLOBAL_V6 and ip.is_global and not any(ip in network for network in CLOSED_V6)


def _body(reply: http.client.HTTPResponse, name: str, max_bytes: int, deadline: float) -> bytes:
    """Read the body piece by piece, so that neither a long one nor a slow one holds us."""
    if reply.status != 200:
        raise InputError(f"{name} answered {reply.status} {reply.reason}: check the address")
    kind = reply.headers.get_content_type()
    if not kind.startswith("image/") or reply.headers.get("Content-Encoding", "identity") != "identity":
        kind = reply.headers.get("Content-Encoding", "identity").replace("identity", "") or kind
        raise InputError(f"{name} is {kind!r}, not an image: expected a Content-Type of image/..., uncompressed")
    if (reply.length or 0) > max_bytes:
        raise InputError(f"{name} has {reply.length:,} bytes, the limit is {max_bytes:,}")
    parts, size = [], 0
    while True:
        chunk = reply.read1(CHUNK)
        _left(deadline)
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
