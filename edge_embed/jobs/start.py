"""Begin a job, or take one up again: the same inputs and options, or none and those that job.json states."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_embed.errors import InputError
from edge_embed.records.row import Chunk
from edge_embed.records.source import Kind

from .description import describe, describe_model, options_of, refuse_another
from .folder import JobFolder, claimed, read_job, sweep, write_whole
from .inputs import AGAIN, InputFile, find_inputs, hashed
from .opened import OpenJob, open_model
from .passages import Passages
from .plan import read_chunks, write_chunks
from .settings import Execution, Settings

WAIT = 0.2  # seconds between two looks at a job that another process begins
OURS = {"chunks.jsonl", "stdin", "parts"}  # what may lie in a folder whose job.json is not written yet


def start(
    out: Path,
    named: Sequence[str | os.PathLike[str]],
    settings: Settings | None,
    execution: Execution,
    kind: Kind | None,
) -> tuple[OpenJob, list[Chunk]]:
    """Open the job in a folder, which is made if there is none; `settings` None takes those of the job that is there.

    Raises InputError for another job, changed inputs, and for whatever could not be computed.
    """
    folder = JobFolder(out)
    if not folder.job.exists():
        settings = settings or Settings()
        settings.check()
        _check_free(folder)
        if opened := _begin_alone(folder, named, settings, execution, kind):
            return opened
    return _resume(folder, read_job(out), named, settings, execution, kind)


def _begin_alone(
    folder: JobFolder,
    named: Sequence[str | os.PathLike[str]],
    settings: Settings,
    execution: Execution,
    kind: Kind | None,
) -> tuple[OpenJob, list[Chunk]] | None:
    """Begin a job, or wait for the process that begins it at this moment, as shards do; then None."""
    claim = folder.path / ".begin"
    while not folder.job.exists():
        with claimed(claim) as mine:
            if mine:
                try:
                    if not folder.job.exists():
                        for path in (folder.job, folder.chunks, folder.spool):
                            sweep(path)
                        return _begin(folder, named, settings, execution, kind)
                finally:
                    claim.unlink(missing_ok=True)
        time.sleep(WAIT)
    return None


def _begin(
    folder: JobFolder,
    named: Sequence[str | os.PathLike[str]],
    settings: Settings,
    execution: Execution,
    kind: Kind | None,
) -> tuple[OpenJob, list[Chunk]]:
    if execution.model is None:
        raise InputError("no model: name one (--model)")
    if not named:
        raise InputError(f"no inputs, and no job in {folder.path} that could go on: name files, folders or globs")
    model = open_model(execution.model, settings, execution)
    try:
        settings = replace(settings, batch_tokens=options_of(model, settings).batch_tokens)
        if settings.chunk_tokens:
            Passages(model, settings)
        inputs = find_inputs(named, folder, kind)
        stated = describe_model(model, execution.model, settings)
        job = describe(stated, settings, inputs, write_chunks(folder, inputs, settings))
        write_whole(folder.job, json.dumps(job, indent=1, ensure_ascii=False).encode() + b"\n")
        return OpenJob(folder.path, execution, model), read_chunks(folder.chunks, job)
    except BaseException:
        model.close()
        raise


def _resume(
    folder: JobFolder,
    job: dict[str, Any],
    named: Sequence[str | os.PathLike[str]],
    settings: Settings | None,
    execution: Execution,
    kind: Kind | None,
) -> tuple[OpenJob, list[Chunk]]:
    stated = Settings.from_json(job["options"])
    if settings is not None:
        settings.check()
        now = replace(settings, batch_tokens=settings.batch_tokens or stated.batch_tokens)
        refuse_another({"options": stated.to_json()}, {"options": now.to_json()}, folder.path)
    try:
        inputs = _inputs_now(folder, job, named, kind)
        refuse_another({"inputs": job["inputs"]}, {"inputs": [one.to_json() for one in inputs]}, folder.path)
    finally:
        folder.spool.with_name(AGAIN).unlink(missing_ok=True)
    if not folder.chunks.exists():
        write_chunks(folder, inputs, stated)
    chunks = read_chunks(folder.chunks, job)
    return OpenJob(folder.path, replace(execution, inputs=tuple(one.path for one in inputs))), chunks


def _inputs_now(
    folder: JobFolder, job: dict[str, Any], named: Sequence[str | os.PathLike[str]], kind: Kind | None
) -> list[InputFile]:
    """Measure the inputs that are named, or those that the job states, where they lay when it began."""
    if named:
        return [
            replace(one, path=folder.spool) if one.path.name == AGAIN else one
            for one in find_inputs(named, folder, kind)
        ]
    return hashed([(Path(one["path"]), one["kind"]) for one in job["inputs"]], folder)


def _check_free(folder: JobFolder) -> None:
    if folder.path.exists() and not folder.path.is_dir():
        raise InputError(f"{folder.path} is a file: name a folder for the job")
    others = [path.name for path in folder.path.glob("*") if path.name not in OURS and not path.name.startswith(".")]
    if others:
        raise InputError(
            f"{folder.path} holds {others[0]!r} and no job: name an empty folder, or one that is yet to be"
        )
