"""Base checkpoint + LoRA adapter -> `Merged`: the base's tensors with what the adapter adds, in float32, one by one.

NumPy only; no PyTorch, no PEFT.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_embed.errors import CorruptModelError

from .adapters import Adapter
from .derived import Derived
from .matching import Change, Match
from .source import Array


class Merged(Derived):
    """The base's tensors by name with the adapter merged in, each computed in float32 when asked for.

    `tied`: config.json's tie_word_embeddings. Raises CorruptModelError where adapter and base contradict each other,
    UnsupportedModelError for what cannot be merged, both from names and shapes, before any weight is computed.
    """

    def __init__(self, base: Mapping[str, Array], adapter: Adapter, *, tied: bool = False) -> None:
        super().__init__(base)
        self._adapter = adapter.tensors
        self._changes = Match(base, adapter).changes(tied=tied)

    def __getitem__(self, name: str) -> Array:
        change = self._changes.get(name, Change())
        tensor = np.asarray(
            self._adapter[change.replacement] if change.replacement else self._tensors[name], np.float32
        )
        with np.errstate(all="ignore"):  # what is not finite is reported below, by name
            if change.bias:
                tensor = tensor + np.float32(change.scale) * self._adapter[change.bias]
            if change.factors:
                tensor = self._add_low_rank(tensor, change, *change.factors)
        if not np.isfinite(tensor).all():
            raise CorruptModelError(f"tensor {name!r} holds NaN or infinity once merged; save the adapter again")
        return tensor

    def _add_low_rank(self, weight: Array, change: Change, a: str, b: str) -> Array:
        lora_a, lora_b = self._adapter[a], self._adapter[b] * np.float32(change.scale)
        merged: Array = np.matmul(lora_a.T, lora_b.T) if change.transposed else np.matmul(lora_b, lora_a)
        merged += weight
        if change.magnitude:
            sums = "io,io->o" if change.transposed else "oi,oi->o"
            norms = np.sqrt(np.einsum(sums, merged, merged, dtype=np.float64))
            factors = (self._adapter[change.magnitude] / norms).astype(np.float32)
            merged *= factors if change.transposed else factors[:, None]
        return merged
