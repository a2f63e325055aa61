"""Draws what quality costs, from the tables of docs/figures/quality.md, as curves in two SVG files.

    python -m benchmarks plot [--page docs/figures/quality.md] [--out docs/images]

levels.svg has nDCG@10 against the megabytes of each GGUF level; vectors.svg has it against the bytes of a vector, by
fewer dimensions and by bits. Figures are read where they stand for people, so that a picture never shows others.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.report import Report

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 350, 56, 16, 74, 48
STEP = 0.05  # of y
DIMS = {256: "256 dims", 128: "128", 64: "64", 32: "32"}  # as the table calls them
COLOURS = ("#1f6f8b", "#b5541c")
LABELLED = {"F16", "Q8_0", "Q4_K_M", "IQ2_M", "IQ1_S"}  # the others lie too close together
Point = tuple[float, float, str]  # x, y, and what stands beside it


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--page", type=Path, default=Path("docs/figures/quality.md"), help="where the tables stand")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="the folder of the SVG files")


def run(args: argparse.Namespace) -> Report:
    """Read the tables and write both pictures."""
    pictures = draw_all(args.page.read_text("utf-8"))
    args.out.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (args.out / name).write_text(picture, "utf-8")
    return Report([f"{args.out / name}" for name in pictures], {"pictures": list(pictures)})


def draw_all(page: str) -> dict[str, str]:
    """Return the pictures of a page's tables, by name."""
    tables = read_tables(page)
    levels: dict[str, list[Point]] = {}
    vectors: dict[str, list[Point]] = {}
    for model, columns, rows in tables:
        if "MB" in columns and "nDCG@10" in columns:
            levels[model] = [
                (float(row["MB"]), float(row["nDCG@10"]), name if name in LABELLED else "")
                for name, row in rows.items()
            ]
        elif "256 dims" in columns and "float32" in rows:
            vectors |= sizes(model, rows["float32"])
    return {
        "levels.svg": draw(levels, "What a level costs: nDCG@10 by megabytes of a GGUF file", "MB"),
        "vectors.svg": draw(vectors, "What a smaller vector costs: nDCG@10 by bytes of a vector", "bytes"),
    }


def sizes(model: str, row: Mapping[str, str]) -> dict[str, list[Point]]:
    """Return two curves of a model's float32 weights: fewer dimensions, and bits of all of them."""
    fewer = [(dim * 4.0, float(row[name]), f"{dim} dims") for dim, name in DIMS.items()]
    whole = max(DIMS)
    bits = [
        (whole / 8, float(row["bits"]), "bits"),
        (whole / 8 + whole, float(row["bits, rescored with int8"]), "bits and int8"),
    ]
    return {f"{model}, dimensions": fewer, f"{model}, bits": bits}


def read_tables(page: str) -> list[tuple[str, list[str], dict[str, dict[str, str]]]]:
    """Return a page's tables: the first heading, the others, and each row's cells by its name and by heading."""
    found = []
    for match in re.finditer(r"^(\|.*\|)\n\|[-| ]+\|\n((?:\|.*\|\n?)+)", page, re.M):
        first, *columns = cells(match[1])
        rows = {row[0]: dict(zip(columns, row[1:], strict=True)) for row in map(cells, match[2].splitlines())}
        found.append((first, columns, rows))
    return found


def cells(line: str) -> list[str]:
    """Cut a row into its cells."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def draw(curves: Mapping[str, Sequence[Point]], title: str, unit: str) -> str:
    """Return an SVG with a curve for each name, x in logarithms; the curves of one model share a colour."""
    points = [point for curve in curves.values() for point in curve]
    scale = Scale(points)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-size="12"'
        ' font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="12" y="22" font-size="13" font-weight="bold">{title}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{unit}, logarithmic</text>',
        *scale.axes(),
        *names_above(points, scale),
    ]
    models = list(dict.fromkeys(name.partition(",")[0] for name in curves))
    across = float(LEFT)
    for name, curve in curves.items():
        colour = COLOURS[models.index(name.partition(",")[0]) % len(COLOURS)]
        dashes = ' stroke-dasharray="5 4"' if "bits" in name else ""
        places = [(scale.across(x), scale.down(y)) for x, y, _ in sorted(curve)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
        parts.append(f'<path d="M{across:.1f} 38h18" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts.append(f'<text x="{across + 23:.1f}" y="42" font-size="11">{name}</text>')
        across += 46 + 6 * len(name)
    return "\n".join([*parts, "</svg>\n"])


class Scale:
    """Where a point lies on the picture."""

    def __init__(self, points: Sequence[Point]) -> None:
        xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
        self.left, self.right = min(xs), max(xs)
        self.bottom, self.top = math.floor(min(ys) / STEP) * STEP, math.ceil(max(ys) / STEP) * STEP

    def across(self, x: float) -> float:
        """Return pixels from the left."""
        share = math.log(x / self.left) / math.log(self.right / self.left)
        return LEFT + (share * 0.92 + 0.04) * (WIDTH - LEFT - RIGHT)

    def down(self, y: float) -> float:
        """Return pixels from the top."""
        return TOP + (self.top - y) / (self.top - self.bottom) * (HEIGHT - TOP - BOTTOM)

    def axes(self) -> Iterator[str]:
        """Yield a line for each step of y, and numbers along both sides."""
        for n in range(round((self.top - self.bottom) / STEP) + 1):
            y = self.down(self.bottom + n * STEP)
            yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>'
            yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{self.bottom + n * STEP:.2f}</text>'
        whole = [2.0**n for n in range(12)]
        ticks = whole if self.right / self.left > 8 else sorted([*whole, *(1.5 * one for one in whole)])
        for x in (one for one in ticks if self.left * 0.95 <= one <= self.right * 1.05):
            yield f'<text x="{self.across(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:g}</text>'


def names_above(points: Sequence[Point], scale: Scale) -> Iterator[str]:
    """Yield each point's name once, in a row above the curves, or below one that is too near, with a line down."""
    named: dict[str, float] = {}
    for x, _, name in points:
        named.setdefault(name, scale.across(x))
    named.pop("", None)
    last = -math.inf
    for name, x in sorted(named.items(), key=lambda item: item[1]):
        near = x - last < 40
        y = TOP - 6 + 16 * near
        last = -math.inf if near else x
        yield f'<path d="M{x:.1f} {y + 4}V{HEIGHT - BOTTOM}" stroke="#999999" stroke-dasharray="1 4"/>'
        yield f'<text x="{x:.1f}" y="{y}" text-anchor="middle" font-size="11">{name}</text>'
