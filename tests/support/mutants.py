"""Files spoilt at random, with regard to what they are made of: JSON, GGUF, protobuf, safetensors, or just bytes."""

from __future__ import annotations

import copy
import json
import random
import struct
from typing import Any

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
ODD_NUMBERS = (0, 1, -1, 2, 3, 7, 255, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 40, 1 << 63, 10**30, 10**400)
ODD: tuple[Any, ...] = (
    *ODD_NUMBERS,
    *(None, True, False, "", "a", "../x", "\ud800", "a\0b", "9" * 5000, 0.0, -0.5, 1e-320, 1e308),
    *(float("nan"), float("inf"), [], {}, [[]], [{}], {"a": {}}, [0], [None], ["a"], [1.5, "x", None], [-1, 1 << 40]),
)


def spoil_json(value: Any, rng: random.Random) -> bytes:
    """Return a JSON text: keys lost, added or exchanged, values of other kinds, and now and then no JSON at all."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        places = _places(value)
        if not places:
            value = copy.deepcopy(rng.choice(ODD))
            continue
        holder, key = rng.choice(places)
        what = rng.random()
        if what < 0.2 and (isinstance(holder, dict) or key == len(holder) - 1):
            del holder[key]
        elif what < 0.3:
            other, at = rng.choice(places)
            holder[key] = copy.deepcopy(other[at])
        elif what < 0.35 and isinstance(holder, dict):
            holder[rng.choice(["a", "", "\ud800", *map(str, holder)])] = holder.pop(key)
        elif what < 0.38:
            holder[key] = nested(rng.choice([20, 200, 2000, 50_000]))
        else:
            holder[key] = copy.deepcopy(rng.choice(ODD))
    text = _dumps(value).encode("utf-8", "surrogatepass")
    return spoil_bytes(text, rng) if rng.random() < 0.1 else text


class nested:  # a marker that _dumps writes as so many brackets
    """Brackets in one another."""

    def __init__(self, depth: int) -> None:
        self.depth = depth

    def __repr__(self) -> str:
        return f"nested({self.depth})"  # by which what is drawn of it is drawn again


def _dumps(value: Any) -> str:
    marks: list[int] = []

    def mark(one: Any) -> str:
        marks.append(one.depth)
        return f"@@{len(marks) - 1}@@"

    text = json.dumps(value, default=mark, ensure_ascii=random.Random(repr(value)[:99]).random() < 0.5)
    for n, depth in enumerate(marks):
        text = text.replace(f'"@@{n}@@"', "[" * depth + "]" * depth)
    return text


def _places(value: Any) -> list[tuple[Any, Any]]:
    """List every key of every object, and every index of every array up to the hundredth."""
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        one = stack.pop()
        keys = [*one] if isinstance(one, dict) else [*range(min(len(one), 100))] if isinstance(one, list) else []
        found += [(one, key) for key in keys[:100]]
        stack += [one[key] for key in keys[:100]]
    return found


def spoil_bytes(data: bytes, rng: random.Random, head: int | None = None) -> bytes:
    """Flip, cut, stretch and overwrite bytes, among the first `head`."""
    spoilt = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(max(1, min(len(spoilt), head or len(spoilt))))
        what = rng.random()
        if what < 0.5 and at < len(spoilt):
            spoilt[at] ^= 1 << rng.randrange(8)
        elif what < 0.7:
            spoilt[at : at + 8] = rng.choice([b"\xff" * 8, bytes(8), struct.pack("<Q", 1 << rng.randrange(64))])
        elif what < 0.8:
            del spoilt[at:]
        elif what < 0.9:
            del spoilt[at : at + rng.randrange(1, 16)]
        else:
            spoilt[at:at] = spoilt[: rng.randrange(1, 64)]
    return bytes(spoilt)


def spoil_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Spoil the header's JSON; the length before it is right, most of the time."""
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.15:
        return spoil_bytes(data, rng, 8 + size)
    header = spoil_json(json.loads(data[8 : 8 + size]), rng)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def spoil_protobuf(data: bytes, rng: random.Random, depth: int = 0) -> bytes:
    """Spoil one field of a message, or of one within it: lost, doubled, of another number, type or contents."""
    fields = _fields(data)
    if not fields or rng.random() < 0.03:
        return spoil_bytes(data, rng)
    n = rng.randrange(len(fields))
    key, value = fields[n]
    what = rng.random()
    if isinstance(value, bytes) and depth < 6 and what < 0.75 and len(value) > 2:
        fields[n] = (key, spoil_protobuf(value, rng, depth + 1))
    elif what < 0.8:
        del fields[n]
    elif what < 0.85:
        fields.insert(rng.randrange(len(fields) + 1), fields[n])
    elif what < 0.9:
        fields[n] = (rng.choice([1, 2, 5, 6, 7, 8, 20]) << 3 | key & 7, value)
    elif isinstance(value, int):
        fields[n] = (key, rng.choice([0, 1, 2, 7, 127, 1 << 31, 1 << 40, (1 << 64) - 1, (1 << 64) - 2]))
    else:
        fields[n] = (key, spoil_bytes(value, rng))
    return b"".join(_field(key, value) for key, value in fields)


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Read a message; an empty list for what is none."""
    found: list[tuple[int, int | bytes]] = []
    at = 0
    try:
        while at < len(data):
            key, at = _varint(data, at)
            if key & 7 == 0:
                value, at = _varint(data, at)
                found.append((key, value))
                continue
            length = {1: 8, 5: 4}.get(key & 7)
            if length is None:
                if key & 7 != 2:
                    return []
                length, at = _varint(data, at)
            if at + length > len(data):
                return []
            found.append((key, data[at : at + length]))
            at += length
    except IndexError:
        return []
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _field(key: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _pack_varint(key & ~7) + _pack_varint(value)
    return _pack_varint(key) + (_pack_varint(len(value)) if key & 7 == 2 else b"") + value


def _pack_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


class Gguf:
    """A GGUF file taken apart: keys [name, type, value], tensors [name, shape, type, offset], and their bytes."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 4
        (_, tensors, keys) = self._take("I"), self._take("Q"), self._take("Q")
        self.keys = [[self._text(), kind := self._take("I"), self._value(kind)] for _ in range(keys)]
        self.tensors = []
        for _ in range(tensors):
            name, dims = self._text(), self._take("I")
            self.tensors.append([name, [self._take("Q") for _ in range(dims)], self._take("I"), self._take("Q")])
        self.bytes = data[-(-self._at // 32) * 32 :]

    def pack(self) -> bytes:
        """Put it together."""
        out = [b"GGUF", struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))]
        for name, kind, value in self.keys:
            out += [_gguf_text(name), struct.pack("<I", kind), _gguf_value(kind, value)]
        for name, shape, kind, offset in self.tensors:
            sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
            out += [_gguf_text(name), sizes, struct.pack("<IQ", kind, offset)]
        head = b"".join(out)
        return head + bytes(-len(head) % 32) + self.bytes

    def _take(self, form: str) -> Any:
        (value,) = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize(form)
        return value

    def _text(self) -> bytes:
        size = self._take("Q")
        self._at += size
        return self._data[self._at - size : self._at]

    def _value(self, kind: int) -> Any:
        if kind == 8:
            return self._text()
        if kind != 9:
            return self._take(SCALARS[kind])
        element = self._take("I")
        return (element, [self._value(element) for _ in range(self._take("Q"))])


def _gguf_text(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _gguf_value(kind: int, value: Any) -> bytes:
    if kind == 8:
        return _gguf_text(value)
    if kind == 9:
        element, items = value
        return struct.pack("<IQ", element, len(items)) + b"".join(_gguf_value(element, item) for item in items)
    return struct.pack("<" + SCALARS[kind], value)


def spoil_gguf(data: bytes, rng: random.Random) -> bytes:
    """Spoil a key or a tensor's description so that the rest still reads; now and then just bytes of the header."""
    file = Gguf(data)
    if rng.random() < 0.15:
        return spoil_bytes(data, rng, len(data) - len(file.bytes))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        rng.choice([_spoil_key, _spoil_key, _spoil_tensor])(file, rng)
    return file.pack()


def _spoil_key(file: Gguf, rng: random.Random) -> None:
    n = rng.randrange(len(file.keys))
    _, kind, value = file.keys[n]
    what = rng.random()
    if what < 0.15:
        del file.keys[n]
    elif what < 0.2:
        file.keys[n][0] = rng.choice(file.keys)[0]
    elif what < 0.35:
        file.keys[n][1:] = rng.choice(
            [[8, b""], [8, b"\xff\xfe"], [4, 7], [7, True], [6, float("nan")], [9, (4, [1, 2])]]
        )
    elif kind == 9 and value[1]:
        element, items = value
        at, other = rng.randrange(len(items)), rng.randrange(len(items))
        changed = [*items]
        if rng.random() < 0.5:
            changed[at] = items[other]
        elif element == 8:
            changed[at] = rng.choice([b"", b" ", b"\xff", b"a" * 300, b"[UNK]", b"<0x0A>", b"\0"])
        else:
            del changed[rng.randrange(len(items)) :]
        file.keys[n][2] = (element, changed)
    elif kind == 8:
        file.keys[n][2] = rng.choice(
            [b"", b"bert", b"gpt2", b"llama", b"t5", b"qwen2", b"default", b"none", b"\xff", value * 9]
        )
    elif kind in (6, 12):
        file.keys[n][2] = rng.choice([0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf")])
    elif kind == 7:
        file.keys[n][2] = not value
    elif kind != 9:  # an array that holds nothing any more
        _fit_number(file.keys[n], rng)


def _fit_number(key: list[Any], rng: random.Random) -> None:
    near = (key[2] - 1, key[2] + 1, 2 * key[2], key[2] // 2)
    for value in rng.sample([*near, *ODD_NUMBERS[:-2], 513, 30_000], 16):
        try:
            struct.pack("<" + SCALARS[key[1]], value)
        except struct.error:
            continue
        key[2] = value
        return


def _spoil_tensor(file: Gguf, rng: random.Random) -> None:
    if not file.tensors:
        return
    n = rng.randrange(len(file.tensors))
    tensor, what = file.tensors[n], rng.random()
    if what < 0.15:
        del file.tensors[n]
    elif what < 0.25:
        tensor[0] = rng.choice(file.tensors)[0]
    elif what < 0.35:
        tensor[0] = rng.choice(
            [b"", b"blk.999.attn_q.weight", b"output.weight", b"rope_freqs.weight", b"token_types.weight"]
        )
    elif what < 0.65 and tensor[1]:
        tensor[1] = rng.choice(
            [[*reversed(tensor[1])], [*tensor[1], 1], tensor[1][:-1], [*tensor[1][:-1], 0], [1 << 62, 4]]
        )
    elif what < 0.85:
        tensor[2] = rng.choice([0, 1, 2, 8, 12, 14, 24, 26, 28, 30, 4, 99])
    else:
        tensor[3] = rng.choice([0, 1, 32, 1 << 40, (1 << 64) - 32, (tensor[3] + 32) % (1 << 64)])
