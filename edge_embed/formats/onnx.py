"""What an ONNX file says of its graph, nodes and sizes of weights, without the weights and without the onnx package.

Walks over the protobuf wire format; field numbers are those of onnx.proto3. A node with branches reads what they read.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edge_embed.errors import CorruptModelError

BITS = {2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16, 21: 4, 22: 4}
FLOAT = 32  # bits of what BITS does not name
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MODEL_GRAPH, GRAPH_WEIGHT = 7, 5
DEEPEST, DIMENSIONS, LARGEST = 16, 16, 1 << 40  # of branches, of a weight, and of one of its sides
FUSED = "_fused"  # ends the name of a graph of ours that has one in standard operators beside it, and uses its data
LONG = 1 << 16  # bytes of a field that holds a weight's contents, and nothing that is read


def data_name(graph: str) -> str:
    """Return how the names of a graph's data files begin."""
    return graph.removesuffix(f"{FUSED}.onnx") + ".onnx" if graph.endswith(f"{FUSED}.onnx") else graph


@dataclass(frozen=True)
class Weight:
    """One initialiser: its shape, its size in bytes, and the file beside the graph that holds it, if one does."""

    shape: tuple[int, ...]
    size: int
    file: str | None = None


@dataclass
class Node:
    """One operator: what it reads and writes by name, its attributes that are whole numbers, operators of branches."""

    op: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    ints: dict[str, int] = field(default_factory=dict)
    inside: list[str] = field(default_factory=list)


@dataclass
class Graph:
    """Nodes in their order of execution, weights by name, and the names of the graph's outputs."""

    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, Weight] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)


def read_graph(path: Path) -> Graph:
    """Read the header of an .onnx file; raise CorruptModelError for bytes that cannot be one."""
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))  # unmapped when no view is left
        found = [view for number, view in _fields(data) if number == MODEL_GRAPH and isinstance(view, memoryview)]
        graph = _graph(found[-1]) if found else Graph()
    except (OSError, ValueError, IndexError) as error:
        raise CorruptModelError(f"{path} cannot be read as an ONNX file: {error}") from error
    if not graph.nodes:
        raise CorruptModelError(f"{path} holds no ONNX graph")
    return graph


class Bytes(Protocol):
    """Bytes that come when they are looked at."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: int) -> int: ...

    def look(self, start: int, stop: int) -> None:
        """Have the bytes from `start` to `stop` at hand."""


def look_beside_weights(data: Bytes) -> None:
    """Look at a model file's bytes but for the weights' contents; raise ValueError or IndexError for a damaged one."""
    _look(data, 0, len(data), (MODEL_GRAPH, GRAPH_WEIGHT))


def _look(data: Bytes, at: int, end: int, inside: tuple[int, ...]) -> None:
    """Look at a message's fields, into those of the numbers `inside`, past others that are long."""
    while at < end:
        key, at = _varint(data, at)
        length = {FIXED64: 8, FIXED32: 4, VARINT: 0}.get(key & 7)
        if length is None or key & 7 == VARINT:
            length, at = _varint(data, at)
        if key & 7 == VARINT:
            continue
        if at + length > end:
            raise ValueError(f"{length} bytes at byte {at} reach beyond the end")
        if inside and key >> 3 == inside[0]:
            _look(data, at, at + length, inside[1:])
        elif length <= LONG:
            data.look(at, at + length)
        at += length


def _graph(data: memoryview, depth: int = 0) -> Graph:
    if depth > DEEPEST:
        raise ValueError(f"branches lie more than {DEEPEST} deep in one another")
    graph = Graph()
    for number, value in _fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            graph.nodes.append(_node(value, depth))
        elif number == GRAPH_WEIGHT:
            name, weight = _weight(value)
            graph.weights[name] = weight
        elif number == 12:
            graph.outputs += [_text(part) for key, part in _fields(value) if key == 1]
    return graph


def _node(data: memoryview, depth: int) -> Node:
    node = Node()
    for number, value in _fields(data):
        if number == 1:
            node.inputs.append(_text(value))
        elif number == 2:
            node.outputs.append(_text(value))
        elif number == 4:
            node.op = _text(value)
        elif number == 5 and isinstance(value, memoryview):
            parts = dict(_fields(value))
            if isinstance(whole := parts.get(3), int):
                node.ints[_text(parts.get(1, 0))] = whole
            if isinstance(branch := parts.get(6), memoryview):
                nodes = _graph(branch, depth + 1).nodes
                node.inputs += [name for inner in nodes for name in inner.inputs]
                node.inside += [op for inner in nodes for op in (inner.op, *inner.inside)]
    return node


def _weight(data: memoryview) -> tuple[str, Weight]:
    shape: list[int] = []
    name, bits, file = "", FLOAT, None
    for number, value in _fields(data):
        if number == 1:
            shape += [value] if isinstance(value, int) else _varints(value)
        elif number == 2 and isinstance(value, int):
            bits = BITS.get(value, FLOAT)
        elif number == 8:
            name = _text(value)
        elif number == 13 and isinstance(value, memoryview):
            entry = {key: _text(part) for key, part in _fields(value)}
            file = entry.get(2) if entry.get(1) == "location" else file
    if len(shape) > DIMENSIONS or any(size > LARGEST for size in shape):
        raise ValueError(f"the weight {name!r:.60} has the shape {str(shape)[:60]}")
    return name, Weight(tuple(shape), math.prod(shape) * bits // 8, file)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Give the fields of a message: a number and what it holds; a length beyond the end raises ValueError."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(key & 7)
        if length is None:
            if key & 7 != BYTES:
                raise ValueError(f"wire type {key & 7} at byte {at}")
            length, at = _varint(data, at)
        if at + length > len(data):
            raise ValueError(f"{length} bytes at byte {at} reach beyond the end")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: memoryview | Bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    raise ValueError(f"a number at byte {at} has no end")


def _varints(data: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        found.append(value)
    return found


def _text(value: int | memoryview) -> str:
    return "" if isinstance(value, int) else str(value, "utf-8")
