"""Units of systemd: a hardened one of the system, and one of a user's own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from edge_embed.errors import InputError
from edge_embed.server.keys import CREDENTIAL

from .plan import Plan, environment

NAME = "edge-embed.service"
SYSTEM = Path("/etc/systemd/system", NAME)
MARK = "# Written by `edge-embed service install`."
HOMES = ("/home/", "/root/", "/run/user/")  # what ProtectHome hides
TEMPORARY = ("/tmp/", "/var/tmp/")  # what PrivateTmp hides
PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)  # words that systemd takes as they are
UNIT = """\
{mark}
[Unit]
Description=Embedding vectors over HTTP (edge_embed)
{unit}
[Service]
Type=notify
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
TimeoutStartSec=15min
TimeoutStopSec=90
WatchdogSec=2min
{service}
[Install]
WantedBy={target}
"""
# Engines make no code at run time, so nothing need be both writable and executable. /proc stays whole: memory and
# processor are read there.
ANYWHERE = """\
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
UMask=0077
"""
HARDENED = """\
DynamicUser=yes
CacheDirectory=edge-embed
CacheDirectoryMode=0700
Environment=EDGE_EMBED_CACHE=%C/edge-embed HF_HOME=%C/edge-embed/hub
CapabilityBoundingSet=
DevicePolicy=closed
KeyringMode=private
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
"""


def user_path() -> Path:
    """Return where a user's own unit stands."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "systemd", "user", NAME)


def system_unit(plan: Plan) -> str:
    """Write the unit of the system: a user of its own, no home, no device, no network but what it serves.

    Keys come as a credential. Raises InputError for a socket's file and an index, which are one user's, and for a
    folder that this user may not read.
    """
    keys = plan.settings.api_key_file
    for path in plan.reads:
        _check_readable(path)
    if plan.settings.uds is not None:
        raise InputError("--uds makes a socket for its own user, whom nobody is in a system service: use --user")
    if plan.settings.index:
        raise InputError("--index is a file of your own, which the system's service may not open: use --user")
    lines = HARDENED + ANYWHERE
    hidden = [path for path in plan.reads if str(path).startswith((*HOMES, *TEMPORARY))]
    lines += f"ProtectHome={'tmpfs' if any(str(path).startswith(HOMES) for path in hidden) else 'yes'}\n"
    lines += "".join(f"BindReadOnlyPaths={_bound(path)}\n" for path in hidden)
    if not plan.online:
        lines += "IPAddressDeny=any\nIPAddressAllow=localhost\n"
    if keys is not None:
        lines += f"LoadCredential={CREDENTIAL}:{_specifiers(str(keys))}\n"
    network = "Wants=network-online.target\nAfter=network-online.target\n" if plan.online else "After=network.target\n"
    without_keys = replace(plan, settings=replace(plan.settings, api_key_file=None))
    return _unit(without_keys.command(), network, lines, "multi-user.target")


def user_unit(plan: Plan) -> str:
    """Write the unit of a user's own: what the system lets a user deny to himself."""
    return _unit(plan.command(), "", _environment(environment()) + ANYWHERE, "default.target")


def commands(user: bool) -> tuple[list[str], list[str]]:
    """Return what starts the service now and ever after, and what ends it."""
    control = "systemctl --user" if user else "systemctl"
    start = [f"{control} daemon-reload", f"{control} enable --now {NAME}"]
    if user:
        start.append("loginctl enable-linger   # so that it runs while nobody is logged in, too")
    return start, [f"{control} disable --now {NAME}", f"{control} daemon-reload"]


def quote(word: str) -> str:
    """Quote a word of ExecStart, so that systemd takes it as it is.

    >>> quote("a $b 100%")
    '"a $$b 100%%"'
    """
    if PLAIN.fullmatch(word):
        return _specifiers(word)
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{_specifiers(escaped)}"'


def _unit(command: Iterable[str], unit: str, service: str, target: str) -> str:
    program, *words = command
    if "$" in program or program.startswith("-"):
        raise InputError(f"the interpreter {program!r} has a path that no unit can name: install edge_embed elsewhere")
    line = " ".join([quote(program), *map(quote, words)])
    return UNIT.format(mark=MARK, unit=unit, command=line, service=service, target=target)


def _environment(variables: Mapping[str, str]) -> str:
    pairs = (f"{name}={value}".replace("\\", "\\\\").replace('"', '\\"') for name, value in variables.items())
    return "".join(f'Environment="{_specifiers(pair)}"\n' for pair in pairs)


def _bound(path: Path) -> str:
    text = str(path)
    if ":" in text:
        raise InputError(f"{text!r} has a colon, which a unit cannot bind: move it, or use --user")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_specifiers(escaped)}"'


def _check_readable(path: Path) -> None:
    """Raise InputError unless everybody may read; folders above one that is bound may be closed."""
    ways = [] if str(path).startswith((*HOMES, *TEMPORARY)) else path.parents
    needed = {path: 0o005 if path.is_dir() else 0o004, **dict.fromkeys(ways, 0o001)}
    for place, bits in needed.items():
        if place.exists() and place.stat().st_mode & bits != bits:
            raise InputError(
                f"{place} is closed to others, and the service has a user of its own: chmod -R o+rX {path}, or --user"
            )


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")
