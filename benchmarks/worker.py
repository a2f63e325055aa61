"""An engine in a process of its own, so that its threads, its memory and its installed packages are its own.

A module of `benchmarks.engines` loads its engine and calls `serve`; a benchmark starts it as a `Worker` and asks. One
JSON value a line goes each way. What this file imports counts as every engine's start, so it imports little.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from benchmarks.timing import Seconds, timed

ROOT = Path(__file__).parents[1]
PATIENCE = 10.0  # seconds that an idle engine gets to end by itself


@dataclass(frozen=True)
class Answer:
    """What an engine told after one request: the time it took, the process's peak so far, and the engine's details."""

    seconds: Seconds
    peak_mb: float
    details: Mapping[str, Any]


class Worker:
    """A running engine: `python -m benchmarks.engines.ENGINE ARGUMENTS`, by default with this interpreter.

    Returns as soon as the engine is loaded. Its messages go to our standard error, or into the file `messages`. Raises
    RuntimeError if it ends.
    """

    def __init__(
        self, engine: str, *arguments: object, python: str = sys.executable, messages: IO[str] | None = None
    ) -> None:
        self._command = _command(python, engine, arguments)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, stderr=messages, text=True, env=_environment()
        )
        self._read()

    def ask(self, request: object) -> Answer:
        """Send a request and wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        return Answer(Seconds(answer["wall"], answer["cpu"]), answer["peak_mb"], answer["details"])

    def close(self) -> None:
        """End the process: it ends by itself when its input does, and what it started with it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it may have ended already
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(f"the engine ended without an answer; its error stands above: {self._command}")
        return json.loads(line)


def serve(
    run: Callable[[Any], Any],
    *,
    prepare: Callable[[Any], Any] | None = None,
    details: Callable[[Any, Any], Mapping[str, Any]] | None = None,
    cpu_clock: Callable[[], float] = time.process_time,
) -> None:
    """Answer requests from standard input until it ends; only `run` is timed.

    `prepare` makes the input of `run` from a request. `details` gets the request and the result, and returns what the
    benchmark wants to know of them.
    """
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        prepared = prepare(request) if prepare else request
        result, seconds = timed(partial(run, prepared), cpu_clock)
        more = details(request, result) if details else {}
        answer = {"wall": seconds.wall, "cpu": seconds.cpu, "peak_mb": peak_mb(), "details": more}
        print(json.dumps(answer), flush=True)


def run_once(engine: str, *arguments: object) -> list[Any]:
    """Run an engine that takes no requests in a fresh process -> what it prints, a JSON value a line."""
    command = _command(sys.executable, engine, arguments)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=_environment(), check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def peak_mb() -> float:
    """Return this process's peak resident memory in MB; 0 where the system does not tell."""
    from edge_embed.device.machine import resident_peak  # after the engine has started, whose start may be timed

    return (resident_peak() or 0) / 2**20


def memory_mb(field: str) -> float:
    """Return this process's present memory in MB, from Linux: VmRSS is all of it, RssAnon leaves out pages of files."""
    (size,) = re.findall(rf"^{field}:\s+(\d+)", Path("/proc/self/status").read_text(), re.M)
    return int(size) / 1024


def _command(python: str, engine: str, arguments: tuple[object, ...]) -> list[str]:
    return [python, "-m", f"benchmarks.engines.{engine}", *map(str, arguments)]


def _environment() -> dict[str, str]:
    """Let any interpreter find this checkout, also one that lacks edge_embed; no peer sends telemetry."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"ORT_DISABLE_TELEMETRY": "1"} | os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
