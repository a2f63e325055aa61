"""The command service: `serve` as a service of systemd or launchd."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_embed.errors import InputError, printable
from edge_embed.server.service import files, launchd, systemd
from edge_embed.server.service.plan import make_plan

from . import serve as cli_serve


def configure(commands: Any, default: str) -> None:
    """Add the command to the parser's; `default` is the model where none is named."""
    service = commands.add_parser("service", help="have systemd or launchd run serve")
    actions = service.add_subparsers(required=True, metavar="ACTION")
    install = actions.add_parser("install", help="write the service's file; takes the options of serve as well")
    cli_serve.add_options(install, default)
    install.add_argument("--print", action="store_true", help="print the file, and write none")
    install.set_defaults(run=_install)
    uninstall = actions.add_parser("uninstall", help="remove the service's file")
    uninstall.set_defaults(run=_uninstall)
    for action, what in ((install, "replace another file"), (uninstall, "remove a file that we did not write")):
        action.add_argument("--user", action="store_true", help="yours, not the system's; always so on macOS")
        action.add_argument("--force", action="store_true", help=what)
        action.add_argument("--json", action="store_true", help="print what was done, and the commands, as JSON")


def _install(args: argparse.Namespace) -> None:
    plan = make_plan(cli_serve.read(args))
    if _is_mac():
        data = launchd.agent(plan)
    else:
        data = (systemd.user_unit(plan) if args.user else systemd.system_unit(plan)).encode("utf-8")
    if args.print:
        print(printable(data.decode("utf-8")), end="")
        return
    path = _path(args.user)
    written = files.install(path, data, args.force)
    start, stop = _commands(args.user)
    if args.json:
        print(json.dumps({"path": str(path), "written": written, "start": start, "stop": stop}, indent=2))
        return
    print(f"{path} {'was written' if written else 'is as it was'}. To start it:")
    _list(start)
    print("To end it:")
    _list(stop)


def _uninstall(args: argparse.Namespace) -> None:
    path = _path(args.user)
    data = files.read(path)
    ours = launchd.is_ours(data) if _is_mac() else data.startswith(systemd.MARK.encode("ascii"))
    files.uninstall(path, ours, args.force)
    stop = _commands(args.user)[1]
    if args.json:
        print(json.dumps({"path": str(path), "stop": stop}, indent=2))
        return
    print(f"{path} was removed. If the service still runs:")
    _list(stop)


def _is_mac() -> bool:
    if sys.platform not in ("darwin", "linux"):
        raise InputError(f"services are written for systemd and launchd, and this is {sys.platform}")
    return sys.platform == "darwin"


def _path(user: bool) -> Path:
    if _is_mac():
        return launchd.agent_path()
    return systemd.user_path() if user else systemd.SYSTEM


def _commands(user: bool) -> tuple[list[str], list[str]]:
    return launchd.commands(launchd.agent_path()) if _is_mac() else systemd.commands(user)


def _list(lines: Sequence[str]) -> None:
    print(*(f"  {line}" for line in lines), sep="\n")
