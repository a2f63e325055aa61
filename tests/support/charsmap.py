"""SentencePiece's precompiled charsmap: what a normalizer replaces, as a double array and its replacements.

The array's units are packed as Darts-clone packs them: https://github.com/s-yata/darts-clone.
"""

from __future__ import annotations

import struct

LEAF, VALUE = 1 << 8, 1 << 31
NEAR = 512  # places before the last: what lies further back is nearly full


def charsmap(replaced: dict[str, str]) -> bytes:
    """Pack what each text is replaced by."""
    texts, places = b"", {}
    for text in dict.fromkeys(replaced.values()):
        places[text] = len(texts)
        texts += text.encode() + b"\0"
    trie = _trie({key.encode() + b"\0": places[text] for key, text in replaced.items()})
    units: dict[int, int] = {0: 0}
    _place(trie, 0, units)
    array = [units.get(n, 0) for n in range((max(units) | 255) + 1)]
    return struct.pack(f"<I{len(array)}I", 4 * len(array), *array) + texts


def _trie(keys: dict[bytes, int]) -> dict[int, object]:
    trie: dict[int, object] = {}
    for key, value in keys.items():
        node = trie
        for byte in key[:-1]:
            node = node.setdefault(byte, {})  # type: ignore[assignment]
        node[0] = value
    return trie


def _place(node: dict[int, object], at: int, units: dict[int, int]) -> None:
    """Find room for a node's children, and for theirs; a child stands at its parent's place ^ offset ^ its byte."""
    near = max(1, len(units) - NEAR)
    offset = next(
        n for n in range(near, 1 << 21) if not any(at ^ n ^ byte in units or at ^ n ^ byte == 0 for byte in node)
    )
    units[at] |= offset << 10 | (LEAF if 0 in node else 0)
    for byte in node:
        units[at ^ offset ^ byte] = byte
    for byte, child in node.items():
        place = at ^ offset ^ byte
        if isinstance(child, dict):
            _place(child, place, units)
        else:
            units[place] = VALUE | child  # type: ignore[operator]
