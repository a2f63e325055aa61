"""A job that is killed at random on its way: whether every byte is as of one left alone, and what the kills cost.

    python -m benchmarks jobs.killed --rows 1000000 --kills 10                a static model, five words a text
    python -m benchmarks jobs.killed MODEL --rows 5000 --kills 5 --processes 2

Kills are SIGKILL to the whole group. Computed again is what all runs together computed, less what one left alone does;
with several processes those tell of batches five times a second, and the last before a kill are not counted. Start-up
is from the start of the process that takes the job up to the end of its first chunk, imports and all; "until work" to
its first batch. Memory is the peak of the driver.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.inputs import digest, static_model, write_lines
from benchmarks.report import Report, Table, progress

COUNTS = struct.Struct(
    "<qddd"
)  # texts computed, when the first batch and the first chunk were done, and its CPU seconds
CHILD = """
import mmap, struct, sys, time
from pathlib import Path
from edge_embed.jobs import watch
from edge_embed.jobs.running import run_job
from edge_embed.jobs.settings import Execution, Settings
source, out, model, processes, counts = sys.argv[1:]

class Counting(watch.Meter):
    computed, first = 0, [0.0, 0.0, 0.0]
    def batch(self, texts, tokens):
        self.computed += texts
        self.note(0)
        super().batch(texts, tokens)
    def chunk(self, outcome):
        self.note(1)
        super().chunk(outcome)
    def note(self, which):
        self.first[which] = self.first[which] or time.monotonic()
        if which == 1:
            self.first[2] = self.first[2] or time.process_time()
        file[:] = struct.pack("<qddd", self.computed, *self.first)  # what is mapped outlives a kill

if __name__ == "__main__":
    with open(counts, "r+b") as opened:
        file = mmap.mmap(opened.fileno(), 0)
    import edge_embed.jobs.running as running
    running.Meter = Counting
    run_job(Path(out), [source], Settings(), Execution(model=model, processes=int(processes)))
"""


@dataclass(frozen=True)
class Ran:
    """One run until its end or its kill.

    Its first batch and chunk are in seconds from the start of its process, 0 if it did not come so far; `cpu` is what
    the first chunk had taken of the processor.
    """

    status: int
    seconds: float
    computed: int
    batch: float
    chunk: float
    cpu: float
    peak: int


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", nargs="?", help="default: a static model of random numbers, 64 dimensions")
    parser.add_argument("--rows", type=int, default=100_000, help="number of texts, each of which occurs once")
    parser.add_argument("--words", type=int, default=5, help="of a text")
    parser.add_argument("--kills", type=int, default=5, help="number of runs that are killed, one after another")
    parser.add_argument("--processes", type=int, default=1, help="of each run; all of them are killed")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")


def run(args: argparse.Namespace) -> Report:
    """Run the job once undisturbed and once with kills, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = args.model or str(static_model(place / "static", 64))
        source = write_lines(place / "in.jsonl", args.rows, args.words)
        whole = _run(place, source, place / "whole", model, args.processes, None)
        progress("undisturbed", whole)
        parts = _parts(place / "whole")
        draw = random.Random(args.seed)
        goals = sorted(draw.sample(range(1, parts), args.kills))
        chunk = whole.seconds / parts
        killed = []
        for goal in goals:
            killed.append(_run(place, source, place / "killed", model, args.processes, (goal, draw.uniform(0, chunk))))
            progress(goal, killed[-1])
        last = _run(place, source, place / "killed", model, args.processes, None)
        same = digest(place / "killed") == digest(place / "whole")
        shutil.rmtree(place / "killed")
    if last.status or any(one.status != -signal.SIGKILL for one in killed):
        raise SystemExit(f"not every run ended as it should: {[one.status for one in (*killed, last)]}")
    again = (sum(one.computed for one in (*killed, last)) - whole.computed) / args.kills
    taken_up = [*killed[1:], last]
    starts = [one.chunk for one in taken_up if one.chunk]
    middle = taken_up[min(range(len(taken_up)), key=lambda at: abs(goals[at] - parts / 2))]
    table = Table("", "figure")
    table.add("SHA-256 of all parts", "equal" if same else "DIFFERENT")
    table.add("undisturbed, s", f"{whole.seconds:.1f}")
    table.add("computed again, texts a kill", f"{again:,.0f}")
    table.add("computed again, s a kill", f"{again * whole.seconds / whole.computed:.2f}")
    table.add("start-up, s: median, longest", f"{sorted(starts)[len(starts) // 2]:.2f}, {max(starts):.2f}")
    table.add("start-up when half done, s: until work, first chunk", f"{middle.batch:.2f}, {middle.chunk:.2f}")
    table.add("start-up when half done, CPU s until first chunk", f"{middle.cpu:.2f}")
    table.add(
        "peak MB: undisturbed, killed",
        f"{whole.peak / 1e6:,.0f}, {max(one.peak for one in (*killed, last)) / 1e6:,.0f}",
    )
    figures = {"same": same, "whole": vars(whole), "killed": [vars(one) for one in killed], "last": vars(last)}
    return Report([table], {"rows": args.rows, "processes": args.processes, "goals": goals, **figures})


def _run(place: Path, source: Path, out: Path, model: str, processes: int, kill: tuple[int, float] | None) -> Ran:
    """Run the job to its end, or kill it so many seconds after there are so many parts."""
    counts = place / "counts"
    counts.write_bytes(COUNTS.pack(0, 0, 0, 0))
    words = [sys.executable, "-c", CHILD, str(source), str(out), model, str(processes), str(counts)]
    began = time.monotonic()
    process = subprocess.Popen(words, start_new_session=True)
    if kill is not None:
        goal, later = kill
        while _parts(out) < goal and os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(0.02)
        time.sleep(later)
        os.killpg(process.pid, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    computed, batch, chunk, cpu = COUNTS.unpack(counts.read_bytes())
    seconds = time.monotonic() - began
    batch, chunk = (max(0.0, one - began) for one in (batch, chunk))
    return Ran(process.returncode, seconds, computed, batch, chunk, cpu, peak=usage.ru_maxrss * 1024)


def _parts(out: Path) -> int:
    """Count the parts that are done."""
    return sum(path.suffix == ".npy" and not path.name.startswith(".") for path in out.glob("parts/*"))
