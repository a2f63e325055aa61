"""What a model is asked for with: the arguments of Embedder, checked where that needs no model, defaults filled in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from edge_embed.backends.facts import FASTEST, check
from edge_embed.device.background import BATTERY_BELOW, check_battery
from edge_embed.device.machine import this_device
from edge_embed.errors import InputError, listing
from edge_embed.hub.reference import Reference, parse
from edge_embed.pipeline.special_tokens import SpecialTokens, check_special_tokens
from edge_embed.selection.choice import Constraints
from edge_embed.selection.memory import size_in_bytes
from edge_embed.selection.speed import Workload
from edge_embed.spec.model import IMAGE, TEXT, Pooling

ModelWorkload = Literal["bulk", "single", "background"]


@dataclass(frozen=True, kw_only=True)
class LoadRequest:
    """Which model to load, and how; `load_request` fills it from what a user says.

    `max_memory` is the user's own limit in bytes, `memory_limit` that or else the machine's. `own_cache` is where what
    we make of downloads is kept. `spec` holds keys of edge_embed.json that win over what the folder says. With
    `converting` what the folder has is converted to ONNX where that is faster here. With `background` the engine comes
    after other programs, and waits below `battery_below` per cent of a battery.
    """

    reference: Reference
    backend: str = "auto"
    converting: bool = False
    task: str | None = None
    max_tokens: int | None = None
    max_memory: int | None = None
    memory_limit: int | None = None
    workload: Workload = "bulk"
    background: bool = False
    battery_below: int = BATTERY_BELOW
    threads: int
    why_threads: str = "as asked for"
    cache_dir: Path | None = None
    own_cache: Path
    offline: bool | None = None
    special_tokens: SpecialTokens = "tokens"
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hub_cache(self) -> Path:
        """Where downloads are kept."""
        return hub_cache(self.cache_dir)

    @property
    def constraints(self) -> Constraints:
        """What decides between the weights of one folder: the same ones in the background as otherwise."""
        return Constraints(
            backend=self.backend,
            converting=self.converting,
            level=self.reference.level,
            memory_limit=self.memory_limit,
            max_tokens=self.max_tokens,
            workload=self.workload,
            threads=this_device().threads if self.background else self.threads,
            cache_folder=self.own_cache,
        )


def load_request(
    model: str | os.PathLike[str],
    *,
    backend: str = "auto",
    task: str | None = None,
    revision: str | None = None,
    max_tokens: int | None = None,
    max_memory: int | str | None = None,
    workload: ModelWorkload = "bulk",
    battery_below: int = BATTERY_BELOW,
    threads: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    special_tokens: SpecialTokens = "tokens",
    pooling: Pooling | None = None,
    prompts: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> LoadRequest:
    """Check the arguments and fill in what this machine and the environment say; raise InputError for a wrong one."""
    check_workload(workload)
    check_battery(battery_below)
    check_special_tokens(special_tokens)
    if backend not in ("auto", FASTEST):
        check(backend)
    if threads is not None and threads < 1:
        raise InputError(f"threads={threads} must be at least 1")
    device, background = this_device(), workload == "background"
    chosen, why = (1, "in the background") if background else (device.threads, device.why_threads)
    limit = size_in_bytes(max_memory) if max_memory is not None else None
    return LoadRequest(
        reference=parse(model, revision),
        backend="auto" if backend == FASTEST else backend,
        converting=backend == FASTEST,
        task=task,
        max_tokens=max_tokens,
        max_memory=limit,
        memory_limit=limit or device.memory_limit,
        workload="bulk" if workload == "background" else workload,
        background=background,
        battery_below=battery_below,
        threads=threads or chosen,
        why_threads="as asked for" if threads else why,
        cache_dir=_expanded(cache_dir) if cache_dir is not None else None,
        own_cache=own_cache(cache_dir),
        offline=offline,
        special_tokens=special_tokens,
        spec=_stated(spec or {}, pooling, prompts),
    )


def check_workload(workload: str) -> None:
    """Raise InputError for what is none of the three."""
    if workload not in get_args(ModelWorkload):
        raise InputError(f"unknown workload {workload!r}: choose from {listing(get_args(ModelWorkload))}")


def _stated(spec: Mapping[str, Any], pooling: Pooling | None, prompts: Mapping[str, str] | None) -> Mapping[str, Any]:
    """Add pooling and prompts to the spec's keys; a prompt without a place for the text stands before it."""
    given: dict[str, Any] = {} if pooling is None else {"pooling": pooling}
    if prompts is not None:
        given["prompts"] = {
            name: prompt if TEXT in prompt or IMAGE in prompt else prompt + TEXT for name, prompt in prompts.items()
        }
    if twice := given.keys() & spec.keys():
        raise InputError(f"{listing(twice)} is given beside spec and in it: say it once")
    return {**spec, **given}


def hub_cache(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where downloads are kept: `cache_dir`, or the folder that the hub's own variables name."""
    if cache_dir is not None:
        return _expanded(cache_dir)
    from huggingface_hub import constants

    return _expanded(constants.HF_HUB_CACHE)


def own_cache(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where conversions are kept: `cache_dir`, `$EDGE_EMBED_CACHE`, or `edge_embed` in the user's cache."""
    own = cache_dir or os.environ.get("EDGE_EMBED_CACHE")
    if own:
        return _expanded(own)
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "edge_embed"


def _expanded(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # HOME is not set, and the system does not know the user
        raise InputError(
            f"{path} cannot be found, since no home folder is known: set HOME, or give a cache by cache_dir or "
            "EDGE_EMBED_CACHE and HF_HOME"
        ) from error
