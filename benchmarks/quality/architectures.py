"""Every architecture in every format against the original implementation, as the table of docs/models.md.

    python -m benchmarks quality.architectures [--only bert qwen3] [--write docs/models.md]

Of each the tiny random models of tests/support/specimens.py, texts embedded by transformers one at a time: the largest
difference of an element of unit vectors where nothing is rounded, and the mean cosine at eight bits; of several shapes
the worst.
With `--write` the rows that were measured are put into a file's table, between its two marks.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs import texts
from benchmarks.report import Report, Table, progress
from edge_embed import Embedder
from edge_embed.architectures import architecture, file_name, names
from edge_embed.errors import UnsupportedModelError
from edge_embed.layouts.folder import read_folder
from edge_embed_convert import convert

# format -> how its columns are called, the package of its architectures, and its levels: not rounded, and eight bits
FORMATS = {
    "onnx": ("ONNX", "edge_embed_convert.onnx.graphs", "float32", "int8"),
    "gguf": ("GGUF", "edge_embed_convert.gguf.names", "F32", "Q8_0"),
    "mlx": ("MLX", "edge_embed.backends.mlx.models", "float32", "8bit"),
}
ABSENT, UNMEASURED = "none", "tested"
START, END = "<!-- architectures -->", "<!-- end of architectures -->"
COUNT = 40  # texts
Specimen = Callable[[Path, Sequence[str]], NDArray[np.float32]]
GROUP = 32  # weights to one MLX scale, which divides the width of tiny models
PROBES = "edge_embed_convert.verification.verify.probes"


@dataclass(frozen=True)
class Measured:
    """One model in one format: the largest difference of an element, and the mean cosine at eight bits."""

    difference: float
    cosine: float


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--only", nargs="*", default=[], help="architectures, by the names of their files")
    parser.add_argument("--write", type=Path, help="a Markdown file whose table is brought up to date")


def run(args: argparse.Namespace) -> Report:
    """Measure every tiny model, and put the worst of each architecture into the table."""
    from tests.support.specimens import specimens  # and with it PyTorch, which takes seconds

    found: dict[str, dict[str, list[Measured]]] = {name: {} for name in names()}
    for name, specimen in specimens().items():
        with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind, measured = measure(specimen, Path(scratch) / name, args.only)
        for format, one in measured.items():
            found[kind].setdefault(format, []).append(one)
            progress(name, format, cell([one]))
    wanted = {name: rows for name, rows in found.items() if not args.only or name in args.only}
    rows = {name: row(name, formats) for name, formats in wanted.items()}
    if args.write:
        text = args.write.read_text("utf-8")
        args.write.write_text(replaced(text, tabulate(rows_in(text) | rows)), "utf-8")
    figures = {
        name: {format: [one.__dict__ for one in ones] for format, ones in rows.items()} for name, rows in wanted.items()
    }
    return Report([tabulate(rows)], {"architectures": figures})


def measure(specimen: Specimen, folder: Path, only: Iterable[str]) -> tuple[str, dict[str, Measured]]:
    """Make a tiny model in a folder -> its architecture, and what was measured in each format that can hold it."""
    some = [text.encode()[:50].decode(errors="ignore") for text in texts(COUNT)]
    exact = specimen(folder, some)
    kind = file_name(read_folder(folder).spec.architecture)
    if only and kind not in only:
        return kind, {}
    found = {}
    for format, (_, package, *levels) in FORMATS.items():
        if kind not in names(package):
            continue
        try:
            with patch(PROBES, lambda longest: some[:2]):  # what a conversion verifies is measured here
                (made,) = convert(
                    folder,
                    folder.with_name(f"{folder.name} {format}"),
                    [f"{format}:{level}" for level in levels],
                    group_size=GROUP,
                    accept_loss=True,
                )
        except UnsupportedModelError:  # a shape that this format has no place for
            continue
        plain, rounded = (embedded(f"{made}:{level}", some) for level in levels)
        found[format] = Measured(float(np.abs(plain - exact).max()), float((rounded * exact).sum(axis=1).mean()))
    return kind, found


def embedded(place: str, some: list[str]) -> NDArray[np.float32]:
    """Embed texts at one level."""
    with Embedder(place) as model:
        return model.encode(some)


def row(name: str, measured: Mapping[str, list[Measured]]) -> list[str]:
    """Return an architecture's cells: its name, the models that it covers, and each format."""
    cells = [
        ABSENT if name not in names(package) else cell(measured.get(format, []))
        for format, (_, package, *_) in FORMATS.items()
    ]
    return [f"`{name}`", models_of(name), *cells]


def tabulate(rows: Mapping[str, list[str]]) -> Table:
    """Put the rows of all architectures that there are into a table."""
    table = Table("architecture", "models", *(title for title, *_ in FORMATS.values()))
    for name in sorted(rows.keys() & set(names())):
        table.add(*rows[name])
    return table


def rows_in(text: str) -> dict[str, list[str]]:
    """Return the rows of a Markdown file's table, by architecture."""
    lines = text.partition(START)[2].partition(END)[0].splitlines()
    return {line.split("`")[1]: [part.strip() for part in line.strip("|").split("|")] for line in lines if "`" in line}


def cell(ones: list[Measured]) -> str:
    """Put the worst of several models into words."""
    if not ones:
        return UNMEASURED
    return f"{max(one.difference for one in ones):.0e}, {min(one.cosine for one in ones):.4f}"


def models_of(name: str) -> str:
    """Return the well-known models of an architecture, which its file's docstring lists after `Models:`."""
    found = re.search(r"^Models: (.*?)\.$", architecture(name).__doc__ or "", re.M | re.S)
    if found is None:
        raise ValueError(f"the docstring of edge_embed/architectures/{name}.py lists no models, as in `Models: a, b.`")
    return " ".join(found[1].split())


def replaced(text: str, table: Table) -> str:
    """Return a Markdown file with another table between its two marks."""
    before, _, rest = text.partition(f"{START}\n")
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the file has no {START} before {END}")
    return f"{before}{START}\n\n{table}\n\n{END}{after}"
