"""A process that writes an index for ever, to be killed: it says what it begins and what it has committed.

    python -m support.index_writer INDEX TOKENIZER items|files SEED [LINES]

It reads what is there, {name: version}, and a version to begin with. A line of JSON goes out before every call, and one
after it. With LINES it kills itself at that line of the search's own code, counted from the first call on, so that any
statement may be the last; otherwise somebody else kills it.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_embed import Index
from edge_embed.search import scan
from edge_embed.search.coding import code
from edge_embed.search.store import Passage, Source

from .search import fake_model

NAMES, TOGETHER = 60, 5  # items or files that there may be, and that one call touches at most
PIECES = 7  # passages of an item: a multiple of it is there, or an item is torn
TAIL = 40  # passages after which the columns are written anew, so that this happens all the time
OURS = str(Path(scan.__file__).parent)
State = dict[int, int]  # the version of each item or file that is there


def vectors(name: int, version: int) -> np.ndarray:  # type: ignore[type-arg]
    """Return an item's vectors, which nothing else has."""
    return np.random.default_rng([name, version]).standard_normal((PIECES, 64)).astype(np.float32)


def text_of(name: int, version: int, piece: int) -> str:
    """Return a passage's text, which says whose it is."""
    return f"name{name} version{version} piece{piece}"


def file_text(name: int, version: int) -> str:
    """Return a file's text, of several passages of the fake model's, each of which says whose it is."""
    return "\n\n".join(f"{text_of(name, version, piece)} {'abcdefgh'[piece] * 60}" for piece in range(PIECES))


def put_items(index: Index, version: int, names: Iterable[int]) -> None:
    """Put items with vectors of their own in, in one transaction."""
    entries = []
    for name in names:
        passages = [Passage(n, n + 1, None, text_of(name, version, n)) for n in range(PIECES)]
        source = Source(kind="item", key=str(name).encode(), time=0.0)
        entries.append((source, passages, code(vectors(name, version))))
    index._database.put(entries)


def changes(draw: random.Random, state: State) -> dict[str, Sequence[int]]:
    """Return some of the changes that are possible, by what they are, and the names that each is about."""
    there, free = sorted(state), sorted({*range(NAMES)} - state.keys())
    some = draw.randint(1, TOGETHER)
    found: dict[str, Sequence[int]] = {"compaction": []}
    if free:
        found["add"] = draw.sample(free, min(some, len(free)))
    if there:
        found["update"] = draw.sample(there, min(some, len(there)))
        found["removal"] = draw.sample(there, min(some, len(there)))
    return found


def apply(what: str, version: int, names: Iterable[int], state: State) -> State:
    """Return what is there after a call."""
    if what in ("add", "update"):
        return {**state, **dict.fromkeys(names, version)}
    return {name: known for name, known in state.items() if what != "removal" or name not in names}


def tell(**what: Any) -> None:
    """Say what is begun or done."""
    print(json.dumps(what), flush=True)


def die_at(lines: int) -> None:
    """Be killed before so many further lines of the search's code have run, wherever that is."""
    left = itertools.count(lines, -1)

    def local(frame: Any, event: str, argument: Any) -> Any:
        if event == "line" and next(left) <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return local

    def called(frame: Any, event: str, argument: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(OURS) else None

    sys.settrace(called)


def write_items(index: Index, draw: random.Random, state: State, first: int) -> None:
    """Change items for ever."""
    for version in itertools.count(first):
        found = changes(draw, state)
        what = draw.choice([*found])
        names = found[what]
        tell(begin=what, version=version, names=names)
        if what == "compaction":
            index.compact()
        elif what == "removal":
            index._database.remove(index._database.items(str(name).encode() for name in names))
        else:
            put_items(index, version, names)
        state = apply(what, version, names, state)
        tell(done=what)
        if scan.is_stale(index._database._connection):
            tell(begin="rewriting of the bits", version=version, names=[])
            index._database.tidy()
            tell(done="rewriting of the bits")


def write_files(index: Index, draw: random.Random, state: State, first: int) -> None:
    """Change files beside the index, each to a version that it never had, and bring the index up to them, for ever."""
    folder = Path(index._database.path).parent / "files"
    for version in itertools.count(first):
        found = changes(draw, state)
        del found["compaction"]
        what = draw.choice([*found])
        names = found[what]
        for name in names:
            path = folder / f"{name}.txt"
            if what == "removal":
                path.unlink()
            else:
                whole = folder.with_name("whole")  # no file is found half written: that is not what is tested
                whole.write_text(file_text(name, version))
                os.utime(whole, (version, version))
                whole.replace(path)
        tell(begin=f"{what} of files", version=version, names=names)
        index.add_files([folder])
        state = apply(what, version, names, state)
        tell(done=f"{what} of files")


def main(index_path: str, tokenizer: str, kind: str, seed: str, lines: str = "") -> None:
    """Write until killed."""
    scan.TAIL = TAIL
    known, version = json.loads(sys.stdin.readline())
    state = {int(name): there for name, there in known.items()}
    with Index.open(index_path, fake_model(Path(tokenizer))) as index:
        if lines:
            die_at(int(lines))
        (write_items if kind == "items" else write_files)(index, random.Random(seed), state, version)


if __name__ == "__main__":
    main(*sys.argv[1:])
