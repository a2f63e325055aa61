"""Draws the engines' figures of a benchmark's JSON line, read from standard input, as bars in an SVG.

python -m benchmarks speed.texts | tail -n 1 |
    python -m benchmarks chart texts_per_s "texts per second" docs/images/speed.svg
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.report import Report

BAR, GAP, LEFT, WIDTH = 22, 10, 260, 680


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("key", help="which figure of each engine, for example texts_per_s")
    parser.add_argument("title", help="what stands above the bars")
    parser.add_argument("path", type=Path, help="the SVG file to write")


def run(args: argparse.Namespace) -> Report:
    """Read one JSON line from standard input and write an SVG."""
    values = {name: row[args.key] for name, row in json.loads(sys.stdin.read())["engines"].items()}
    args.path.parent.mkdir(parents=True, exist_ok=True)
    args.path.write_text(draw(values, args.title), "utf-8")
    return Report([f"{args.path} shows {len(values)} engines"], {"path": str(args.path), "values": values})


def draw(values: Mapping[str, float], title: str) -> str:
    """Return an SVG with a bar for each value."""
    height = len(values) * (BAR + GAP) + 44
    scale = (WIDTH - LEFT - 70) / max(values.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-size="13"'
        ' font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/><text x="12" y="22" font-weight="bold">{title}</text>',
    ]
    for n, (name, value) in enumerate(values.items()):
        y = 36 + n * (BAR + GAP)
        colour = "#1f6f8b" if name.startswith("edge_embed") else "#b0b7bd"
        parts.append(f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end">{name}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="{BAR}" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + value * scale + 6:.1f}" y="{y + 16}">{number(value)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def number(value: float) -> str:
    """Round to whole numbers, or to three digits below ten.

    >>> number(1234.5), number(0.204)
    ('1,234', '0.20')
    """
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"
