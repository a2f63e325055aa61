"""A search through a running service's socket: the query's vector, a search of a process that runs, whole commands.

    python -m benchmarks search.socket --queries 500 --commands 50

The index holds this project's own code and documentation, the queries ask for parts of it. The service is started with
a socket in a folder of its own, and the whole command is run without it, too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.inputs import PACKAGE
from benchmarks.report import Report, Table, progress
from benchmarks.search.held_out import own_texts
from benchmarks.service.servers import edge_embed, started
from benchmarks.timing import timed
from edge_embed import Index
from edge_embed.device.own_socket import NAME
from edge_embed.search import warm
from edge_embed.search.filters import Filters
from edge_embed.search.reader import Question, Reader
from edge_embed.search.remote import encode_query

WARM_UP = 20  # queries, and one command
QUESTION = Question(text=None, top=10, filters=Filters(), least=None)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", default=f"package:{PACKAGE}/model:int8", help="a reference")
    parser.add_argument("--queries", type=int, default=500, help="that a running process asks")
    parser.add_argument("--commands", type=int, default=50, help="that are run")


def run(args: argparse.Namespace) -> Report:
    """Make an index, serve its model, and ask."""
    questions, texts, _ = own_texts()
    table = Table("", "p50, ms", "p99, ms", "found", "calls")
    figures = {}

    def add(name: str, count: int, ask: Callable[[str], bool], warm_up: int) -> None:
        asked = [questions[n % len(questions)] for n in range(warm_up + count)]
        answers = [timed(lambda text=text: ask(text)) for text in asked][warm_up:]  # type: ignore[misc]
        times = [1000 * seconds.wall for _, seconds in answers]
        p50, p99 = (float(np.percentile(times, share)) for share in (50, 99))
        found = float(np.mean([answer for answer, _ in answers]))
        figures[name] = {"p50": p50, "p99": p99, "found": found, "count": count}
        table.add(name, f"{p50:.1f}", f"{p99:.1f}", f"{found:.0%}", str(count))
        progress(name, p50, p99, found)

    with tempfile.TemporaryDirectory() as folder:  # which no other user may enter, as the socket's has to be
        path, server = Path(folder) / "i.db", f"unix:{Path(folder) / NAME}"
        with Index.open(path, args.model) as index:
            index.add({"id": n, "text": text} for n, text in enumerate(texts))
        with started(edge_embed(args.model), env={"XDG_RUNTIME_DIR": folder}):
            with contextlib.closing(Reader(path)) as reader:
                meta = reader.meta
            add("the query's vector", args.queries, lambda text: bool(len(encode_query(server, text, meta))), WARM_UP)
            add("a search", args.queries, lambda text: search(path, text, server), WARM_UP)
            add("edge-embed search", args.commands, lambda text: command(path, text, folder), 1)
        add("edge-embed search, no service", args.commands, lambda text: command(path, text, ""), 1)
    note = f"{len(texts):,} passages; a search opens the index and counts words, too."
    return Report([table, note], {"model": args.model, "passages": len(texts), "ways": figures})


def search(path: Path, text: str, server: str) -> bool:
    """Search as the command does, in this process; say whether anything was found."""
    found = warm.find(path, text, replace(QUESTION, text=text), server)
    return found is not None and bool(found.hits)


def command(path: Path, text: str, runtime: str) -> bool:
    """Run the command with its user's socket in that folder; say whether anything was found."""
    words = [sys.executable, "-m", "edge_embed.cli.main", "search", text, "--index", str(path)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": runtime}
    return bool(subprocess.run(words, check=True, capture_output=True, env=environment).stdout)
