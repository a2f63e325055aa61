"""What is asked of a job: settings, which decide the bytes that come out, and how it is run, which does not."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from edge_embed.device.background import BATTERY_BELOW, check_battery
from edge_embed.errors import InputError, listing
from edge_embed.pipeline.special_tokens import SpecialTokens
from edge_embed.pipeline.tokenizer import Truncation
from edge_embed.spec.model import Side
from edge_embed.vectors import Precision

Format = Literal["npy", "jsonl", "sqlite", "parquet"]
JobWorkload = Literal["bulk", "background"]
JobEngine = Literal["local", "ray"]
ROWS = 4096  # of a chunk: as many as are tokenised and sorted together


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the bytes of the parts. None: as the model says, or, of `batch_tokens`, as the memory allows."""

    task: str | None = None
    prompt_name: str | None = None
    prompt: str | None = None
    side: Side | None = None
    dim: int | None = None
    precision: Precision = "float32"
    normalize: bool | None = None
    truncation: Truncation = "end"
    special_tokens: SpecialTokens = "tokens"
    column: str | None = None
    id_column: str | None = None
    chunk_tokens: int | None = None
    overlap: int = 0
    format: Format = "npy"
    rows: int = ROWS
    batch_tokens: int | None = None
    with_text: bool = False

    def check(self) -> None:
        """Raise InputError for values that no model can make good."""
        if self.format not in get_args(Format):
            raise InputError(f"unknown format {self.format!r}: choose from {listing(get_args(Format))}")
        for name, value in (("rows", self.rows), ("batch_tokens", self.batch_tokens)):
            if value is not None and value < 1:
                raise InputError(f"{name}={value} must be at least 1")
        if self.chunk_tokens is None and self.overlap:
            raise InputError(f"overlap={self.overlap} needs chunk_tokens, the length of what overlaps")
        if self.chunk_tokens is not None and not 0 <= self.overlap < self.chunk_tokens:
            raise InputError(
                f"chunk_tokens={self.chunk_tokens}, overlap={self.overlap}: the overlap must be less, and not negative"
            )

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """Read what `to_json` gave; raise InputError for anything else."""
        if not isinstance(values, dict) or values.keys() != {field.name for field in fields(cls)}:
            raise InputError(
                "the options of the job are not those that this release knows: run it with the one it names"
            )
        kinds = {"bool": bool, "int": int, "str": str}
        for field in fields(cls):
            words = str(field.type).split(" | ")
            kind = kinds.get(words[0], str)  # the others are closed sets of names
            value = values[field.name]
            if not (type(value) is kind or (value is None and words[-1] == "None")):
                raise InputError(f"the option {field.name} of the job is {value!r:.60}: it was changed")
        found = replace(cls(), **values)
        found.check()
        return found


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a job is run, which changes no byte of its parts.

    `cpus` and `gpus` are what one of Ray's processes takes. `battery_below`, per cent, is for work in the background.
    `shard` (I, N) takes the chunks whose number leaves I when divided by N. `max_rejected` is a number of rows, or a
    share of all of them if less than 1. `inputs` are where the files lie on this machine, in the job's order.
    """

    processes: int = 1
    shard: tuple[int, int] = (0, 1)
    threads: int | None = None
    cache: Path | None = None
    dedupe: bool = True
    max_rejected: float | None = None
    workload: JobWorkload = "bulk"
    battery_below: int = BATTERY_BELOW
    engine: JobEngine = "local"
    cpus: float | None = None
    gpus: float | None = None
    model: str | None = None
    inputs: tuple[Path, ...] = ()

    def check(self) -> None:
        """Raise InputError for what cannot be run."""
        if self.processes < 1:
            raise InputError(f"processes={self.processes} must be at least 1")
        if self.workload not in get_args(JobWorkload):
            raise InputError(f"unknown workload {self.workload!r}: choose from {listing(get_args(JobWorkload))}")
        check_battery(self.battery_below)
        if self.engine not in get_args(JobEngine):
            raise InputError(f"unknown engine {self.engine!r}: choose from {listing(get_args(JobEngine))}")
        if self.engine == "local" and (self.cpus or self.gpus):
            raise InputError("cpus and gpus are what a process takes of a cluster: engine='ray'")
        for name, value in (("cpus", self.cpus), ("gpus", self.gpus)):
            if value is not None and not (0 < value < 1 or (value >= 1 and value == int(value))):
                raise InputError(f"{name}={value} must be a share of one, or a whole number")
        index, count = self.shard
        if not 0 <= index < count:
            raise InputError(f"shard {index}/{count}: choose from 0/{count} to {max(0, count - 1)}/{count}")

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values, for a process that is to run the same."""
        cache = None if self.cache is None else str(self.cache)
        return {**asdict(self), "cache": cache, "inputs": [str(path) for path in self.inputs]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Execution:
        """Read what `to_json` gave."""
        cache, shard = values["cache"], tuple(values["shard"])
        paths = tuple(Path(path) for path in values["inputs"])
        return cls(**{**values, "shard": shard, "cache": None if cache is None else Path(cache), "inputs": paths})


def parse_shard(text: str) -> tuple[int, int]:
    """Read I/N; raise InputError for anything else."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if found is None or int(found[2]) < 1:
        raise InputError(f"shard {text!r}: expected I/N, such as 0/4 for the first of four")
    return int(found[1]), int(found[2])


def parse_share(text: str) -> float:
    """Read a number of rows, or with % a share of all; raise InputError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
    value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if found is None or (found[2] and value > 1) or (not found[2] and not value.is_integer()):
        raise InputError(f"max_rejected {text!r}: expected a number of rows, or a share such as 1%")
    return min(value, 1 - 1e-9) if found[2] else value
