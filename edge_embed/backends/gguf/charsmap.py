"""`precompiled_charsmap` of a SentencePiece vocabulary: faults for which llama.cpp throws, uncaught, at a text.

The form is SentencePiece's: how many bytes the array has, a double array of uint32 (Kanda 2018, as darts-clone writes
it), and replacements that end in a zero byte. A node's children lie at base ^ byte; llama.cpp reads each of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BYTES = np.arange(1, 256)  # a zero byte ends the walk
LABEL, LEAF, VALUE = (1 << 31) | 0xFF, 1 << 8, (1 << 31) - 1
TOGETHER = 1024  # nodes whose children are looked at in one go


def fault_of(data: bytes) -> str | None:
    """Say what is wrong with a map of characters; None if no text can make llama.cpp read outside of it."""
    size = int.from_bytes(data[:4], "little")
    if len(data) <= size + 4:
        return f"says that its array has {size:,} bytes, of {len(data):,}"
    units = np.frombuffer(data, "<u4", size // 4, 4).astype(np.int64)
    if not len(units):  # it is not walked then
        return None
    last = data.rfind(b"\0", size + 4) - size - 4  # where the last replacement ends
    base = (units >> 10) << ((units & (1 << 9)) >> 6)
    seen = np.zeros(len(units) + 256, bool)
    waiting = base[:1]
    while len(waiting):
        now, waiting = waiting[:TOGETHER], waiting[TOGETHER:]
        children = now[:, None] ^ BYTES
        if children.max() >= len(units):
            return "has a node whose children lie outside of its array"
        nodes = children[(units[children] & LABEL) == BYTES]
        after = nodes ^ base[nodes]
        leaves = after[(units[nodes] & LEAF) != 0]
        if len(leaves) and leaves.max() >= len(units):
            return "has a leaf whose value lies outside of its array"
        if len(leaves) and (units[leaves] & VALUE).max() > last:
            return "has a replacement that lies or ends outside of it"
        waiting = np.concatenate([waiting, _new(after, seen)])
    return None


def _new(nodes: NDArray[np.int64], seen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return those nodes that were not seen, once each, and note them; those that lie outside are never noted."""
    nodes = np.unique(nodes)
    inside = nodes < len(seen)
    new = np.concatenate([nodes[inside][~seen[nodes[inside]]], nodes[~inside]])
    seen[nodes[inside]] = True
    return new
