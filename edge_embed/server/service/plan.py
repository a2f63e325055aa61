"""What a service runs: `serve`, with paths that hold wherever it is started, and what it needs."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from edge_embed.errors import InputError
from edge_embed.hub.reference import parse
from edge_embed.server.names import split_argument
from edge_embed.server.settings import Settings

ROOT = Path(__file__).parents[3]  # where the package lies, which may be a checkout
KEPT = ("EDGE_EMBED_CACHE", "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT")  # what a user's own service inherits


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to serve, with paths that hold everywhere; `reads` are folders that it must be able to read.

    `online` says that it needs more than this machine: models of a hub, images by address, or callers from elsewhere.
    """

    settings: Settings
    reads: Sequence[Path]
    online: bool

    def command(self) -> list[str]:
        """Return the interpreter and what it is to run."""
        return [sys.executable, "-P", "-m", "edge_embed.cli.main", "serve", *words(self.settings)]


def make_plan(settings: Settings) -> Plan:
    """Plan a service.

    Raises InputError for a port that no service can have, for a model or a file of keys that is not there, and for a
    name that no file of a service can hold.
    """
    if settings.port < 1024:
        raise InputError(f"--port {settings.port}: give one from 1024 up, which a service may open without being root")
    models, folders, hub = [], [], False
    for argument in settings.models:
        given, name = split_argument(argument)
        reference = parse(given)
        hub |= reference.is_repository
        if reference.path is not None:
            if not reference.path.exists():
                raise InputError(f"{reference.path} does not exist: name a folder that is there")
            folders.append(reference.path)
            given = os.path.abspath(reference.path) + given[len(reference.place) :]
        models.append(given if name is None else f"{given}={name}")
    indexes = [split_argument(argument, "FILE") for argument in settings.index]
    keys = settings.api_key_file.absolute() if settings.api_key_file else None
    if keys is not None and not keys.is_file():
        raise InputError(f"--api-key-file {keys} is no file: write keys into it first, one a line")
    plan = Plan(
        settings=replace(
            settings,
            models=models,
            index=[_absolute(path, name) for path, name in indexes],
            api_key_file=keys,
            uds=settings.uds.absolute() if settings.uds else None,
            offline=settings.offline if hub else True,
        ),
        reads=_folders(folders),
        online=hub or settings.images == "urls" or not (settings.uds or is_loopback(settings.host)),
    )
    for text in (*plan.command(), *map(str, plan.reads)):
        check(text)
    return plan


def _absolute(path: str, name: str | None) -> str:
    return os.path.abspath(path) + ("" if name is None else f"={name}")


def words(settings: Settings) -> list[str]:
    """Write settings as the words that `serve` reads them from; those that are as they would be anyway are left out."""
    found = list(settings.models)
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name == "models" or value == field.default:
            continue
        option = f"--{field.name.replace('_', '-')}"
        if value is True:
            found.append(option)
        elif isinstance(value, list | tuple):
            found += [f"{option}={one}" for one in value]
        elif isinstance(value, float):  # seconds, of which `serve` reads milliseconds at the least
            found.append(f"{option}={value:.0f}s" if value.is_integer() else f"{option}={1000 * value:.0f}ms")
        else:
            found.append(f"{option}={value}")
    return found


def check(text: str) -> None:
    """Raise InputError for what ends a line of a unit, or has no meaning in one."""
    if any(ord(letter) < 32 or 127 <= ord(letter) < 160 or 0xD800 <= ord(letter) < 0xE000 for letter in text):
        raise InputError(f"{text!r} has a line break or another control character, which no service can be given")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host's addresses, as far as its name says."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def environment(names: Iterable[str] = KEPT) -> dict[str, str]:
    """Return the variables that a user's own service has from the shell that installs it."""
    found = {name: os.path.expanduser(value) for name in names if (value := os.environ.get(name))}
    for value in found.values():
        check(value)
    return found


def _folders(models: Sequence[Path]) -> list[Path]:
    """List where models, the interpreter and the packages lie, none within another."""
    places = [*models, Path(sys.prefix), Path(sys.base_prefix), ROOT]
    whole = sorted({Path(os.path.abspath(place)) for place in places} | {place.resolve() for place in places})
    return [one for one in whole if not any(other in one.parents for other in whole)]
