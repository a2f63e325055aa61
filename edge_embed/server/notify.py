"""sd_notify: what systemd is told of a service of Type=notify, and how often its watchdog wants to hear of it."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Tell systemd, if it started us; `state` such as `READY=1`."""
    place = os.environ.get("NOTIFY_SOCKET")
    if not place:
        return
    address = "\0" + place[1:] if place.startswith("@") else place
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), address)  # whoever asked for it may be gone; that is no reason to stop


def watchdog_interval() -> float | None:
    """Return how many seconds may pass between two `WATCHDOG=1`, half of what systemd allows; None if it has none."""
    pid, limit = os.environ.get("WATCHDOG_PID"), os.environ.get("WATCHDOG_USEC", "")
    if pid not in (None, str(os.getpid())) or not limit.isdigit() or not int(limit):
        return None
    return int(limit) / 2e6
