"""Match every pattern of edge_embed and edge_embed_convert with long hostile texts; print which are slow, as JSON."""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import pkgutil
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHORT, LONG = 10_000, 40_000
# What takes so many seconds is looked at: a linear pattern takes 5 ms at most, a quadratic one of the longer text whole
# seconds. It takes 4 times as long for the longer text if it is linear, 16 if it is quadratic.
NOTABLE, GROWTH = 0.1, 8
# What is repeated: alone, and between what begins a match and what lets it fail at the end.
UNITS = (
    *(
        "a",
        "1",
        " ",
        "-",
        ".",
        "_",
        "/",
        ":",
        ";",
        ",",
        "\\",
        "\n",
        "embed",
        "-mmproj",
        "mmproj-",
        "lora_A.",
        ".lora_A",
    ),
    *("Q1_", "-Q1", "a.", ".a", "a/", "-00001-of-00001", "license: ", "license:\n", "---\n", "\t ", "[1/ ", "a b "),
    *("data:", "data:image/png;base64", "adapters/", "0123456789abcdef", "v.blk.1.", "model-1", "aA1_-./: "),
)
STARTS = ("", "data:", "---\n", "license:", "adapters/", "model-", "[", "v.blk.", "base_model.", "a" * 64 + " ", "0-0 ")
ENDS = ("\0", "", "!\n") if "long" in sys.argv else ("\0",)
CALLS = {"match", "fullmatch", "search", "sub", "findall", "finditer", "split"}


def patterns() -> Iterator[tuple[str, re.Pattern[Any], bool]]:
    """Give the place of every compiled pattern of a module, and of every one that is written where it is used.

    And whether it is looked for everywhere in a text. Where none is, it begins at the beginning.
    """
    sources = "".join(path.read_text("utf-8") for path in files())
    for package in ("edge_embed", "edge_embed_convert"):
        found = importlib.import_module(package)
        for info in pkgutil.walk_packages(found.__path__, f"{package}."):
            if info.name.endswith("__main__"):
                continue
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    everywhere = bool(re.search(rf"\b{name}\.(?:search|sub|subn|findall|finditer|split)\b", sources))
                    yield f"{info.name}.{name}", value, everywhere
            for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
                    of_re = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
                    if of_re and node.args and isinstance(node.args[0], ast.Constant):
                        yield (
                            f"{info.name}:{node.lineno}",
                            re.compile(str(node.args[0].value), re.I | re.M),
                            "match" not in node.func.attr,
                        )


def files() -> Iterator[Path]:
    """Give the files of both packages."""
    for package in ("edge_embed", "edge_embed_convert"):
        for place in importlib.import_module(package).__path__:
            yield from Path(place).rglob("*.py")


def seconds(pattern: re.Pattern[Any], text: str, everywhere: bool) -> float:
    """Return the CPU time of matching once in each way that the pattern is used."""
    data = text.encode() if isinstance(pattern.pattern, bytes) else text
    start = time.process_time()
    for call in (pattern.search,) if everywhere else (pattern.match, pattern.fullmatch):
        call(data)
    return time.process_time() - start


def fault(pattern: re.Pattern[Any], everywhere: bool) -> str | None:
    """Say with what a pattern takes too long; None for one that never does."""
    for start, unit, end in itertools.product(STARTS, UNITS, ENDS):
        times = []
        for size in (LONG, SHORT):
            times.append(seconds(pattern, start + unit * (size // len(unit)) + end, everywhere))
            if times[0] < NOTABLE:
                break
        else:
            if times[0] > GROWTH * times[1]:
                taken = f"{times[0]:.1f} s for {LONG} characters, {times[1]:.2f} for {SHORT}"
                return f"{taken}: {unit!r} between {start!r} and {end!r}"
    return None


def main() -> None:
    """Print how many patterns there are, and what is wrong with those that are slow."""
    known = {(pattern, everywhere): place for place, pattern, everywhere in patterns()}
    faults = {f"{place} {key[0].pattern!r}": fault(*key) for key, place in known.items()}
    json.dump({"patterns": len(known), "slow": {name: what for name, what in faults.items() if what}}, sys.stdout)


main()
