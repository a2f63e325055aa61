"""Runs of a job as forks of one process that has imported everything: a kill costs no start of an interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys

# Imports once. For each line of stdin, [arguments, rename, after]: a child in a group of its own that runs the job with
# frames after every batch, killed at the rename of that number, before or after it. Prints its number.
PROGRAM = """
import json, os, signal, sys
from edge_embed.cli.main import main
from edge_embed.jobs import compute
import edge_embed.jobs.running, edge_embed.backends.onnx.backend
compute.EVERY = 0.0

def kill_at(number, after):
    turns, sound = [], os.replace
    def rename(*arguments, **named):
        turns.append(None)
        if len(turns) == number + 1 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        sound(*arguments, **named)
        if len(turns) == number + 1:
            os.kill(os.getpid(), signal.SIGKILL)
    os.replace = rename

print("ready", flush=True)
for line in sys.stdin:
    what, *rest = json.loads(line)
    if what == "wait":
        print(os.waitstatus_to_exitcode(os.waitpid(rest[0], 0)[1]), flush=True)
        continue
    words, number, after = rest
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(2, 1)
        if number is not None:
            kill_at(number, after)
        os._exit(main(words))
    print(child, flush=True)
"""


class Forks:
    """A process that has imported everything, and forks a child for each run of a job."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line
        return line

    def _ask(self, *what: object) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return int(self._read())

    def begin(self, words: list[str], rename: int | None = None, after: bool = False) -> int:
        """Start a run, and return its process, which is its group as well."""
        return self._ask("run", words, rename, after)

    def wait(self, process: int) -> int:
        """Return a run's exit code, or the signal that ended it, below 0."""
        return self._ask("wait", process)

    def close(self) -> None:
        """End the process when its last child has been waited for."""
        self._process.communicate()
