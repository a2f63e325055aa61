"""What decides between a model's weights, and what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_embed.spec.weights import Level, Weights

from .speed import Candidate, Workload

FOR: dict[Workload, str] = {"bulk": "in bulk", "single": "for single texts"}


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """What decides between a folder's weights: what was named, memory in bytes, tokens of the longest text, workload.

    `threads` and `cache_folder` are for measuring, and `measure` says whether that is wanted. With `converting` what
    the folder has is converted where that makes it faster.
    """

    backend: str = "auto"
    converting: bool = False
    level: Level | None = None
    memory_limit: int | None = None
    max_tokens: int | None = None
    workload: Workload = "bulk"
    threads: int = 1
    cache_folder: Path | None = None
    measure: bool = True


@dataclass(frozen=True)
class Choice:
    """What will be loaded: weights (without files: to be converted first), by which backend, and why, in one line.

    `image` is the image part in the same files, where a checkpoint is loaded as it is. `instead` is what the folder has
    already, where a conversion was chosen since it should be faster.
    """

    weights: Weights
    backend: str
    why: str
    image: tuple[Weights, ...] = ()
    instead: Candidate | None = None

    @property
    def name(self) -> str:
        """`format:level`, and the backend where it is not the one that the format is named by."""
        return Candidate(self.weights, self.backend).name

    @property
    def ready(self) -> bool:
        """Whether the files exist already."""
        return bool(self.weights.files)
