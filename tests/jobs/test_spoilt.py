"""A job's folder whose files were spoilt: errors of our own, and never a part that is wrong."""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from edge_embed import EdgeEmbedError
from edge_embed.jobs import run
from edge_embed.jobs.parts import read_part
from edge_embed.jobs.running import run_job
from edge_embed.jobs.settings import Execution
from edge_embed.jobs.status import status, verify

from support.jobs import texts, write_jsonl

FORMATS = ["npy", *(["parquet"] if importlib.util.find_spec("pyarrow") else [])]
TRIES = 60


@pytest.fixture(scope="module", params=FORMATS)
def made(request: pytest.FixtureRequest, quick: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("spoilt")
    lines = write_jsonl(place / "in.jsonl", [*texts(30), "a\0b"])
    run(lines, place / "out", model=quick, format=request.param, rows=10)
    return place / "out"


def spoil(path: Path, chance: random.Random) -> None:
    """Change, cut, or add to a file's bytes."""
    data = bytearray(path.read_bytes())
    way = chance.choice(["flip", "cut", "add", "empty"])
    if way == "flip":
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    elif way == "cut":
        del data[chance.randrange(len(data)) :]
    elif way == "add":
        data += chance.randbytes(9)
    else:
        data.clear()
    path.write_bytes(bytes(data))


def values(out: Path) -> list[Any]:
    """Return what the parts hold: of Parquet's own description of a file a byte may change and say nothing else."""
    parts = [read_part(path) for path in sorted((out / "parts").glob("part-*[0-9].*")) if "rejected" not in path.name]
    return [(part.fields, part.vectors.tolist()) for part in parts]


def test_bytes(made: Path, tmp_path: Path) -> None:
    whole = values(made)
    for number in range(TRIES):
        chance, out = random.Random(number), tmp_path / f"{number}"
        shutil.copytree(made, out)
        files = [out / "job.json", out / "chunks.jsonl", *(out / "parts").iterdir()]
        spoil(chance.choice(sorted(files)), chance)
        for look in (status, verify):
            try:
                look(out)
            except EdgeEmbedError:
                continue
        try:
            run_job(out, [], None, Execution())
            verify(out)
        except EdgeEmbedError:
            continue
        if json.loads((out / "job.json").read_text()) == json.loads((made / "job.json").read_text()):
            assert values(out) == whole, number
        shutil.rmtree(out)


def test_values_of_the_description(made: Path, tmp_path: Path) -> None:
    job = json.loads((made / "job.json").read_text())
    odd: list[Any] = [None, 5, -1, "x", [], {}, [{}], True, "\0", "/"]
    for number, (keys, value) in enumerate((keys, value) for keys in _places(job, ()) for value in odd):
        changed = json.loads(json.dumps(job))
        inner = changed
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        shutil.copy(made / "chunks.jsonl", out)
        (out / "job.json").write_text(json.dumps(changed))
        try:
            status(out)
            if number % 7 == 0:  # opening a model takes longer
                run_job(out, [], None, Execution())
        except EdgeEmbedError:
            pass
        shutil.rmtree(out / "parts", ignore_errors=True)


def _places(value: Any, keys: tuple[Any, ...]) -> Any:
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*keys, key)
        yield from _places(value[key], (*keys, key))
