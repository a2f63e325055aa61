"""One architecture, one file, found by `model_type` of config.json.

Each file has NAME, what llama.cpp calls the architecture, and CAUSAL_NAME, where it has another name for it when a
token attends to those before it alone; metadata(config), llama.cpp's keys without that name; and
entries(config, max_tokens), every tensor of the file in order; `config` is the architecture's own, already read. DENSE
says that llama.cpp computes Dense modules after its pooling.

One file of those with the same NAME has the way back, too: config_of(stated), config.json's values as a GGUF file of
that NAME states them. The rest follows: the metadata of what read(config) makes of them must be the file's own, and
entries tell which tensor is which. UNREAD are the names of tensors that such a file may hold beside them.
Files that begin with an underscore are shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from edge_embed.errors import CorruptModelError
from edge_embed.formats.gguf import Header

from ...checkpoint.source import Array

Value: TypeAlias = "str | bytes | bool | int | float | list[str] | list[bool] | list[int] | list[float]"
VOCABULARY = "token_embd.weight"
THETA = 1e4  # llama.cpp's, for a file that states none
SHAPE = {  # llama.cpp's keys, and config.json's usual names for the same
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
}


@dataclass(frozen=True)
class Entry:
    """One tensor: llama.cpp's name, the checkpoint's without prefix, its shape there, the rows [from, to) of it.

    `moments` names the linear layer whose input the tensor multiplies, None where there is none to be measured.
    `heads` is set where llama.cpp turns neighbouring rows of each head together, and the checkpoint those half a head
    apart: the rows are put in llama.cpp's order. `shift` is added to each number. An `optional` tensor may be absent
    from a file, and then is zero. `within` is how others' files may have it: in a wider tensor, from which
    row on, and how many rows that has.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    moments: str | None = None
    rows: tuple[int, int] | None = None
    heads: int | None = None
    shift: float = 0
    optional: bool = False
    within: tuple[str, int, int] | None = None

    @property
    def size(self) -> tuple[int, ...]:
        """The shape in the file."""
        start, stop = self.rows or (0, self.shape[0])
        return (stop - start, *self.shape[1:])

    def stored(self, tensor: Array) -> Array:
        """Return what the file holds of the checkpoint's tensor."""
        tensor = tensor[slice(*self.rows)] if self.rows else tensor
        tensor = tensor + np.float32(self.shift) if self.shift else tensor
        return tensor if self.heads is None else _swapped(tensor, self.heads, 2, -1)

    def restored(self, tensor: Array) -> Array:
        """Return the checkpoint's rows of which the file holds `tensor`: what `stored` does, undone."""
        tensor = tensor if self.heads is None else _swapped(tensor, self.heads, -1, 2)
        return tensor - np.float32(self.shift) if self.shift else tensor


@dataclass(frozen=True)
class Stated:
    """What a GGUF file states of its architecture, by llama.cpp's keys without the architecture's name.

    `beside` is what a config.json of that architecture says that lies beside the file: of use for what GGUF leaves out.
    """

    header: Header
    beside: Mapping[str, Any]

    def counts(self, keys: Mapping[str, str]) -> dict[str, int]:
        """Return whole numbers under config.json's names for them, which `keys` gives for llama.cpp's."""
        return {name: self.whole(key) for key, name in keys.items()}

    def whole(self, key: str, default: int | None = None, least: int = 1) -> int:
        """Return a whole number; raise CorruptModelError, with its key, for another value or without a default."""
        return self.header.whole(f"{self.header.architecture}.{key}", default, least)

    def real(self, key: str, default: float | None = None) -> float:
        """Return a number; raises as `whole`."""
        return self.header.real(f"{self.header.architecture}.{key}", default)

    def text(self, key: str, default: str) -> str:
        """Return a text; `default` if it is absent."""
        return self.header.text(f"{self.header.architecture}.{key}") or default

    def rope(self) -> dict[str, Any]:
        """Return how positions turn, as config.json's rope_parameters have it."""
        kind = self.text("rope.scaling.type", "none")
        found = {"rope_type": "default" if kind == "none" else kind, "rope_theta": self.real("rope.freq_base", THETA)}
        return found | ({"factor": self.real("rope.scaling.factor")} if kind == "linear" else {})

    def layers(self, key: str, layers: int, period: tuple[int, int]) -> list[bool]:
        """Return of each layer whether something is so of it, which a file says one by one, or by a number n.

        Then it is so of all layers but every n-th; `period` is n where the file says none, and which of n is left out.
        """
        full = f"{self.header.architecture}.{key}"
        found = self.header.metadata.get(full)
        if isinstance(found, list) and len(found) == layers and all(one in (0, 1) for one in found):
            return [bool(one) for one in found]
        every = self.header.whole(full, period[0])
        return [n % every != period[1] % every for n in range(layers)]

    def rows(self, tensor: str, default: int | None = None) -> int:
        """Return how many rows a table has; `default`, where there is one, if it is absent."""
        found = self.header.tensors.get(tensor)
        if found is None and default is not None:
            return default
        if found is None or len(found.shape) != 2:
            shape = None if found is None else found.shape
            raise CorruptModelError(f"{self.header.path}: {tensor!r} is {shape}, a table of rows was expected")
        return found.shape[1]


def _swapped(tensor: Array, heads: int, halves: int, pairs: int) -> Array:
    """Put rows that are turned together, half a head apart, next to each other (2, -1), or back again (-1, 2)."""
    parts = tensor.reshape(heads, halves, pairs, *tensor.shape[1:])
    swapped: Array = np.ascontiguousarray(parts.swapaxes(1, 2)).reshape(tensor.shape)
    return swapped
