"""A worker: opens a job by itself, and computes the chunks whose numbers come by standard input; `python -m` runs it.

Lines of JSON go both ways: numbers in; out what `workers` reads: ready, batch, chunk, error. It ends when its input
does, which is when whoever started it is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from edge_embed.device.priority import lower
from edge_embed.errors import EdgeEmbedError

from .compute import compute_chunk
from .embed import Watch
from .opened import OpenJob
from .plan import read_chunks
from .settings import Execution
from .workers import told

EVERY = 0.2  # seconds between two words about batches


class Teller(Watch):
    """Tell of batches, not of each, and stop when nobody listens any more."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._texts = self._tokens = 0
        self._told = 0.0
        self.alone = False

    def before(self) -> None:
        """End with whoever started this."""
        if self.alone:
            raise BrokenPipeError

    def after(self, texts: int, tokens: int) -> None:
        """Tell of a batch, or keep it for the next word."""
        self._texts, self._tokens = self._texts + texts, self._tokens + tokens
        if time.monotonic() - self._told >= EVERY:
            self.flush()

    def flush(self) -> None:
        """Tell of what was kept."""
        if self._texts or self._tokens:
            self.say("batch", texts=self._texts, tokens=self._tokens)
        self._texts = self._tokens = 0
        self._told = time.monotonic()

    def say(self, what: str, **values: Any) -> None:
        """Write a line."""
        self._out.write(json.dumps({"what": what, **values}) + "\n")
        self._out.flush()


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is not for the driver
    order = json.loads(sys.stdin.readline())
    execution = Execution.from_json(order["execution"])
    if execution.workload == "background":
        lower(whole=True)
    teller = Teller(out)
    try:
        _serve(Path(order["folder"]), execution, teller)
    except EdgeEmbedError as error:
        teller.say("error", **told(error))
    except BrokenPipeError:
        os._exit(1)  # the driver is gone: its pipe cannot be flushed


def _serve(folder: Path, execution: Execution, teller: Teller) -> None:
    with OpenJob(folder, execution) as job:
        chunks = read_chunks(job.folder.chunks, job.job)
        numbers: list[int] = []
        came = threading.Condition()
        threading.Thread(target=_listen, args=(numbers, came, teller), daemon=True).start()
        teller.say("ready")
        while True:
            with came:
                came.wait_for(lambda: bool(numbers) or teller.alone)
                if not numbers:
                    return
                number = numbers.pop(0)
            outcome = compute_chunk(job, chunks[number], teller)
            teller.flush()
            teller.say("chunk", number=number, outcome=None if outcome is None else asdict(outcome))


def _listen(numbers: list[int], came: threading.Condition, teller: Teller) -> None:
    """Take numbers as they come, and notice the end of the input while a chunk is being computed."""
    for line in sys.stdin:
        with came:
            numbers.append(int(line))
            came.notify()
    with came:
        teller.alone = True
        came.notify()


if __name__ == "__main__":
    main()
