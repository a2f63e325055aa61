"""Draw the figures of speed.py or shapes.py as bars.

python benchmarks/speed.py | tail -n 1 | python benchmarks/chart.py texts_per_s "texts per second" docs/speed.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

BAR, GAP, LEFT, WIDTH = 22, 10, 210, 640


def main() -> None:
    """Read one JSON line from standard input and write an SVG."""
    key, title, path = sys.argv[1:]
    rows = {name: row[key] for name, row in json.loads(sys.stdin.read())["engines"].items()}
    height = len(rows) * (BAR + GAP) + 44
    scale = (WIDTH - LEFT - 70) / max(rows.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-size="13"'
        ' font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/><text x="12" y="22" font-weight="bold">{title}</text>',
    ]
    for n, (name, value) in enumerate(rows.items()):
        y = 36 + n * (BAR + GAP)
        colour = "#1f6f8b" if name.startswith("edge_embed") else "#b0b7bd"
        parts.append(f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end">{name}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="{BAR}" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + value * scale + 6:.1f}" y="{y + 16}">{value:,.0f}</text>')
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join([*parts, "</svg>\n"]), "utf-8")


if __name__ == "__main__":
    main()
