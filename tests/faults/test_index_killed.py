"""Kills of what writes an index, at random moments and at random lines: what is searched afterwards is right.

Whole sources only, their passages, vectors, signs and words in step; what was committed before the kill is there, what
was under way is there as a whole or not at all; a search finds each of them, through a derived file that may be
missing, older, newer or half written. A handful of kills of each by default, as many as the time allows with
EDGE_EMBED_FAULTS, so many with EDGE_EMBED_KILLS; `pytest -s` shows how many there were, and of what.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edge_embed import Embedder, Index
from edge_embed.search import scan

from support import index_writer as writer
from support.index_writer import PIECES, State, text_of, vectors
from support.kills import Kills
from support.places import ROOT
from support.search import fake_model, splitting

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills by POSIX signals")
ITEMS = ("add", "update", "removal", "compaction", "rewriting of the bits")
FILES = ("add of files", "update of files", "removal of files")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
LINES = 4000  # of the search's code, within which some dozen calls begin and end
LATEST = 0.03  # seconds after a call began, in which nearly all are done
FORMER = 5  # rounds after which a copy of the derived file is put back, as from a backup


@pytest.fixture
def model(tiny_tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> Embedder:
    monkeypatch.setattr(scan, "TAIL", writer.TAIL)
    return fake_model(tiny_tokenizer)


class Writer:
    """One process after another that writes, and is killed."""

    def __init__(self, kills: Kills, path: Path, tokenizer: Path, kind: str) -> None:
        self._kills, self._words = kills, [sys.executable, "-m", writer.__name__, str(path), str(tokenizer), kind]
        self._version = 1

    def kill(self, turn: random.Random, state: State, targets: tuple[str, ...]) -> tuple[State, dict[str, Any] | None]:
        """Kill one that finds this state -> the state as of its last call that ended, and the call that did not."""
        words, target = [*self._words, str(turn.random())], turn.choice(targets)
        at_a_line = turn.random() < 0.5
        if at_a_line:
            words.append(str(turn.randrange(LINES)))
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(json.dumps([state, self._version]) + "\n")
            child.stdin.close()
            lines = []
            if not at_a_line:
                while target not in (line := child.stdout.readline()) or "begin" not in line:
                    assert line
                    lines.append(line)
                lines.append(line)
                time.sleep(LATEST * 10 ** -turn.uniform(0, 3))
                child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        told = [json.loads(line) for line in lines if line.endswith("\n")]
        last: dict[str, Any] | None = None
        for one in told:
            if "begin" in one:
                last, self._version = one, one["version"] + 1
            else:
                assert last is not None
                state, last = after(state, last), None
        assert self._kills.ended(last["begin"] if last else "between calls", child.returncode)
        return state, last


def after(state: State, call: dict[str, Any]) -> State:
    return writer.apply(call["begin"].removesuffix(" of files"), call["version"], call["names"], state)


def stored(index: Index) -> State:
    """Return the version of each source, of which all pieces are there, once, or the source is torn."""
    found: dict[int, list[str]] = {}
    for source, text in index._database.rows(
        "SELECT s.key, p.text FROM source AS s JOIN passage AS p ON p.source = s.id"
    ):
        name = int(Path(source.decode()).stem)
        found.setdefault(name, []).extend(word for word in text.split() if not word.isalpha())
    state = {}
    for name, words in found.items():
        state[name] = int(words[1].removeprefix("version"))
        expected = [word for piece in range(PIECES) for word in text_of(name, state[name], piece).split()]
        assert sorted(words) == sorted(expected)
    return state


def check_words(index: Index, state: State, column: str) -> None:
    """See that each source is found letter for letter as it is now, and none that is gone."""
    for name in range(writer.NAMES):
        hits = index.search(f"name{name} version", top=20, least=-1)
        exact = [hit for hit in hits if hit.literal]
        assert {Path(getattr(hit, column)).stem for hit in exact} == ({str(name)} if name in state else set())
        assert all(f"name{name} version{state[name]} " in hit.text for hit in exact)


def check_file(path: Path) -> None:
    """See that the database is sound, and its tables in step."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    for table, column in (("vector", "codes"), ("sign", "bits")):
        joined = f"SELECT count(*) FROM passage FULL JOIN {table} USING (id)"
        assert connection.execute(f"{joined} WHERE passage.text IS NULL OR {column} IS NULL").fetchone() == (0,)
    connection.close()


def spoil(path: Path, number: int) -> None:
    """Take the derived file away now and then, or put one back that was right some kills ago."""
    derived, former = Path(f"{path}-bits"), path.with_name("former")
    if number % FORMER == 0 and former.exists():
        shutil.copyfile(former, derived)
    elif number % FORMER == 1 and derived.exists():
        shutil.copyfile(derived, former)
    elif number % FORMER == 2:
        derived.unlink(missing_ok=True)


def test_items(model: Embedder, tiny_tokenizer: Path, tmp_path: Path) -> None:
    kills, path, state = Kills("items of an index", 6, 0.06), tmp_path / "i.db", State()
    Index.open(path, model).close()
    process = Writer(kills, path, tiny_tokenizer, "items")
    for number, turn in enumerate(kills.rounds()):
        state, last = process.kill(turn, state, ITEMS)
        with Index.open(path, model) as index:
            there = stored(index)
            assert there in ([state] if last is None else [state, after(state, last)])
            state = there
            for name, version in state.items():
                piece = turn.randrange(PIECES)
                (hit, *_) = index.search(vectors(name, version)[piece], top=1, least=-1)
                assert hit.text == text_of(name, version, piece)
            check_words(index, state, "id")
        check_file(path)
        spoil(path, number)


@splitting
def test_files(model: Embedder, tiny_tokenizer: Path, tmp_path: Path) -> None:
    """And the next update goes on where the killed one was."""
    kills, path, state = Kills("files of an index", 4, 0.06), tmp_path / "i.db", State()
    folder = tmp_path / "files"
    folder.mkdir()
    Index.open(path, model).close()
    process = Writer(kills, path, tiny_tokenizer, "files")
    for number, turn in enumerate(kills.rounds()):
        state, last = process.kill(turn, state, FILES)
        with Index.open(path, model) as index:
            there, then = stored(index), after(state, last) if last else state
            assert all(there.get(name) in (state.get(name), then.get(name)) for name in range(writer.NAMES))
            check_vectors(index, model, there)
            check_words(index, there, "path")
            index.add_files([folder])
            texts = {int(file.stem): file.read_text() for file in folder.iterdir()}
            state = {name: int(text.split()[1].removeprefix("version")) for name, text in texts.items()}
            assert stored(index) == state
            check_vectors(index, model, state)
            check_words(index, state, "path")
        check_file(path)
        spoil(path, number)


def check_vectors(index: Index, model: Embedder, state: State) -> None:
    """See that a passage of each file is found by its vector; others may have the same letters, and so the same one."""
    rows = index._database.rows(
        "SELECT s.key, p.text FROM source AS s JOIN passage AS p ON p.source = s.id GROUP BY s.id"
    )
    for _, text in rows:
        (hit, *_) = index.search(model.encode_document(text), top=1, least=-1)
        assert hit.score > 0.99
        assert sorted(hit.text) == sorted(text) or hit.score > 0.9999
    assert len(rows) == len(state)
