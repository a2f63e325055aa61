"""One architecture, one file, found by `model_type` of config.json.

Each file has NAME, what llama.cpp calls the architecture, and CAUSAL_NAME, where it has another name for it when a
token attends to those before it alone; metadata(config), llama.cpp's keys without that name; and
entries(config, max_tokens), every tensor of the file in order; `config` is the architecture's own, already read. DENSE
says that llama.cpp computes Dense modules after its pooling. Files that begin with an underscore are shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = "str | bytes | bool | int | float | list[str] | list[bool] | list[int] | list[float]"


@dataclass(frozen=True)
class Entry:
    """One tensor: llama.cpp's name, the checkpoint's without prefix, its shape there, the rows [from, to) of it.

    `moments` names the linear layer whose input the tensor multiplies, None where there is none to be measured.
    `heads` is set where llama.cpp turns neighbouring rows of each head together, and the checkpoint those half a head
    apart: the rows are put in llama.cpp's order. `shift` is added to each number.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    moments: str | None = None
    rows: tuple[int, int] | None = None
    heads: int | None = None
    shift: float = 0

    @property
    def size(self) -> tuple[int, ...]:
        """The shape in the file."""
        start, stop = self.rows or (0, self.shape[0])
        return (stop - start, *self.shape[1:])
