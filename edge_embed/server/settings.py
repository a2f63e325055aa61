"""What the service is told when it starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_embed.errors import InputError
from edge_embed.selection.speed import Workload

ImagePolicy = Literal["urls", "data", "off"]
LogFormat = Literal["text", "json"]
UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to serve `models`, each as `MODEL` or `MODEL=NAME`; times are seconds, sizes bytes.

    `index` are files that are searched, each as `FILE` or `FILE=NAME`. `allow_host` are names that requests may be
    sent to where no key is asked for, beside local ones. `max_wait` is the longest that a request is let in for,
    `max_queue_tokens` what may wait for one model. `max_body` bounds one request's body, `max_bodies` all whose
    requests are not answered yet. `max_tokens` shortens models' own limits. `max_memory` bounds the models that are
    loaded at once, which are unloaded when nobody asked for `idle_unload`; None: never. With `token_ids` inputs may
    be ids of the model's own vocabulary. A request's head has `head_timeout` to come, its body `body_timeout` and
    what its length takes at BODY_RATE; a client that reads nothing of its answer for `send_timeout` is cut off; a
    kept connection waits `keep_alive` for the next request.
    """

    models: Sequence[str]
    index: Sequence[str] = ()
    host: str = "127.0.0.1"
    port: int = 8080
    uds: Path | None = None
    api_key_file: Path | None = None
    max_wait: float = 30.0
    max_queue_tokens: int = 1 << 20
    max_body: int = 32 << 20
    max_bodies: int = 256 << 20
    max_memory: int | None = None
    max_tokens: int | None = None
    idle_unload: float | None = None
    preload: bool = False
    drain_delay: float = 0.0
    drain_timeout: int = 60
    cors: Sequence[str] = ()
    allow_host: Sequence[str] = ()
    images: ImagePolicy = "data"
    token_ids: bool = False
    log_format: LogFormat = "text"
    workload: Workload = "bulk"
    threads: int | None = None
    offline: bool | None = None
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    send_timeout: float = 30.0
    keep_alive: int = 75
    max_connections: int = 1000


def seconds(text: str) -> float:
    """Read a time such as `30`, `500ms`, `10m` or `1.5h`; raise InputError for another text.

    >>> seconds("10m")
    600.0
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|)", text.strip(), re.ASCII)
    if found is None:
        raise InputError(f"{text!r} is not a time: give seconds, or a text such as '500ms', '30s', '10m' or '1h'")
    return float(found[1]) * UNITS[found[2]]
