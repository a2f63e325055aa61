"""The sockets that the service listens on: made here, with the rights that we want, or handed over by systemd."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge_embed.device.own_socket import own_socket
from edge_embed.errors import InputError

from .settings import Settings

logger = logging.getLogger("edge_embed.server")
FIRST = 3  # of the descriptors that systemd hands over
BACKLOG = 1024
OTHERS = 0o177  # what nobody but the user may do with our socket's file


@contextmanager
def listening(settings: Settings) -> Iterator[list[socket.socket]]:
    """Give listening sockets: those handed over, else the file's, else the address's and this user's own socket.

    A file of ours goes with them.

    Raises InputError for an address that is in use or is none of this machine.
    """
    if inherited := handed_over():
        yield inherited
    elif settings.uds is not None:
        with _own_file(_bind_file(settings.uds), settings.uds) as sock:
            yield [sock]
    else:
        bound = bind_address(settings.host, settings.port)
        path = own_socket()
        try:
            own = _bind_file(path) if path is not None else None
        except InputError as error:  # such as another service of this user, which has it
            logger.info("%s is left to others: %s", path, error)
            own = None
        if path is None or own is None:
            yield bound
            return
        with _own_file(own, path):
            yield [*bound, own]


@contextmanager
def _own_file(sock: socket.socket, path: Path) -> Iterator[socket.socket]:
    """Remove a socket's file in the end, unless it is another one by then."""
    made = path.lstat()
    try:
        yield sock
    finally:
        with contextlib.suppress(OSError):  # somebody else removed it
            now = path.lstat()
            if (now.st_ino, now.st_mtime_ns) == (made.st_ino, made.st_mtime_ns):  # numbers are used again
                path.unlink()


def handed_over() -> list[socket.socket]:
    """Return the sockets that systemd or another parent made, as LISTEN_FDS says; only once."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    found = []
    for descriptor in range(FIRST, FIRST + int(count)):
        os.set_inheritable(descriptor, False)
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError as error:
            raise InputError(f"LISTEN_FDS={count}: descriptor {descriptor} is no socket: {error}") from error
        sock.setblocking(False)
        found.append(sock)
    return found


def bind_address(host: str, port: int) -> list[socket.socket]:
    """Listen on all addresses of a host; with port 0 on one that is free, the same for all of them."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host!r} cannot be looked up: {error}") from error
    except OverflowError as error:
        raise InputError(f"--port {port} is none: give 0 to 65535") from error
    bound: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if bound else 0)
            chosen = bound[0].getsockname()[1] if bound else port
            sock.bind((address[0], chosen, *address[2:]))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            if bound and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue  # such as ::1 where IPv6 is off
            raise _cannot_bind(f"{host}:{port}", error) from error
        sock.setblocking(False)
        bound.append(sock)
    return bound


def urls(sockets: Sequence[socket.socket]) -> list[str]:
    """Say where the service is, for a person."""
    found = []
    for sock in sockets:
        name = sock.getsockname()
        if sock.family == socket.AF_UNIX:
            found.append(f"unix:{name}")
        else:
            host = f"[{name[0]}]" if ":" in name[0] else name[0]
            found.append(f"http://{host}:{name[1]}")
    return found


def is_public(sockets: Sequence[socket.socket]) -> bool:
    """Whether others than this machine's users may reach a socket."""
    hosts = [sock.getsockname()[0] for sock in sockets if sock.family != socket.AF_UNIX]
    return not all(ipaddress.ip_address(host.partition("%")[0]).is_loopback for host in hosts)


def _bind_file(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        before = os.umask(OTHERS)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _cannot_bind(str(path), error) from error
    except InputError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _remove_stale(path: Path) -> None:
    """Remove a socket that a server left which is no more; refuse one that answers, and any other file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise InputError(f"--uds {path} exists and is no socket: name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise InputError(f"--uds {path} exists and cannot be asked who uses it: {error}") from error
    raise InputError(f"--uds {path}: another server listens there; stop it, or name another path")


def _cannot_bind(place: str, error: OSError) -> InputError:
    hints = {
        errno.EADDRINUSE: "another program listens there: stop it, or give another --port (0 finds a free one)",
        errno.EACCES: "this user may not: ports below 1024 are the system's, and folders have rights",
        errno.EADDRNOTAVAIL: "it is none of this machine's addresses",
    }
    return InputError(f"cannot listen on {place}: {hints.get(error.errno or 0, str(error))}")
