"""One architecture, one file, found by `model_type` of config.json, which is also what llama.cpp calls it.

Each file has PREFIXES and UNUSED, which tensors' names may begin with and which may be left out, metadata(config),
llama.cpp's keys without the architecture's name, and entries(config, max_tokens), every tensor of the file in order.
Files that begin with an underscore are shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = "str | bool | int | float | list[str] | list[int]"


@dataclass(frozen=True)
class Entry:
    """One tensor: llama.cpp's name, the checkpoint's without prefix, its shape there, how many rows are kept.

    `moments` names the linear layer whose input the tensor multiplies, None where there is none to be measured.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    moments: str | None = None
    rows: int | None = None
