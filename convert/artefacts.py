"""SOURCE -> DIR/<name>/, complete and verified, or nothing: every level, tokenizer, spec, card and sums."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_embed.errors import InputError, listing
from edge_embed.spec import FILE_NAME, Weights, space_fingerprint

from .calibrate import calibrate, read_texts
from .card import describe, write_card
from .layout import write_layout
from .merge import write_safetensors
from .onnx_file import architecture
from .onnx_levels import LEVELS
from .source import Source
from .to_onnx import SMOOTHED, to_onnx
from .variant import open_variant
from .verify import Result, embed, verify


def convert(
    source: Path,
    out: Path,
    to: Sequence[str],
    *,
    name: str | None = None,
    task: str | None = None,
    adapter: Path | None = None,
    spec: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    calibration: Path | None = None,
    keep_checkpoint: bool = False,
    report: Callable[[str], object] = lambda line: None,
) -> Path:
    """Convert a checkpoint folder to each `FORMAT:LEVEL` of `to` -> OUT/<name>/, which appears whole or not at all.

    `task` merges one of the folder's adapters -> OUT/<name>-<task>/; `adapter` a PEFT LoRA folder from elsewhere ->
    OUT/<name>/, or without a name <source's>-<adapter's folder>. `spec` holds keys of edge_embed.json that win over
    what the folder says. `calibration` is a file of texts, one a line, instead of our own. `keep_checkpoint` adds the
    weights, merged and in float32, as model.safetensors.
    Raises InputError for an unknown level, task or key or an existing folder, ModelError for a checkpoint that cannot
    be converted, VerificationError when an artefact falls below its bound; then nothing is left behind.
    """
    levels = _levels(to)
    texts = read_texts(calibration)
    opened = open_variant(source, name, task, adapter, spec or {})
    target = out / opened.spec.name
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists: pass --overwrite, or another --out or --name")
    out.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{opened.spec.name}.", suffix=".partial", dir=out))
    try:
        _fill(stage, opened, levels, texts, keep_checkpoint, report)
        _publish(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return target


def _levels(to: Sequence[str]) -> list[str]:
    known = [f"onnx:{level}" for level in LEVELS]
    if not to:
        raise InputError(f"name at least one of {listing(known)} to convert to")
    if unknown := [target for target in to if target not in known]:
        raise InputError(f"cannot convert to {listing(unknown)}: choose from {listing(known)}")
    return list(dict.fromkeys(target.partition(":")[2] for target in to))


def _fill(
    stage: Path,
    source: Source,
    levels: list[str],
    texts: list[str],
    keep_checkpoint: bool,
    report: Callable[[str], object],
) -> None:
    """Write everything into the staging folder: graphs, verified, then what the folder says of itself."""
    write_layout(stage, source, source.spec)
    reference_only = [] if "float32" in levels else ["float32"]
    weights = _export(stage, source, [*reference_only, *levels], texts, report)
    tokenizer = describe(stage / "tokenizer.json", stage).sha256 or ""
    fingerprint = source.spec.fingerprint or space_fingerprint(source.spec, source.identity(), tokenizer)
    spec = replace(source.spec, weights=tuple(weights.values()), fingerprint=fingerprint)
    (stage / FILE_NAME).write_text(spec.to_json(), "utf-8")  # enough for the runtime to open it
    reference, _ = embed(stage, "float32")
    results: dict[str, Result] = {}
    for level in levels:
        results[f"onnx:{level}"] = result = verify(stage, level, reference)
        report(f"onnx:{level} verified: mean cosine {result.mean:.5f}, least {result.least:.5f}")
    for level in reference_only:
        for file in weights.pop(level).files:
            (stage / file.path).unlink()
    if keep_checkpoint:
        write_safetensors(source.tensors, stage / "model.safetensors")
    write_card(stage, replace(spec, weights=tuple(weights.values())), results)


def _export(
    stage: Path, source: Source, levels: list[str], texts: list[str], report: Callable[[str], object]
) -> dict[str, Weights]:
    """Write the graph of each level, calibrated where the level smooths."""
    config, tensors, spec = source.config, source.tensors, source.spec
    moments = None
    if set(levels) & set(SMOOTHED) and architecture(spec.architecture).smooth_pairs(config, tensors):
        report(f"calibrating on {len(texts)} texts")
        moments = calibrate(config, tensors, spec, stage / "tokenizer.json", texts)
    weights = {}
    for level in levels:
        report(f"onnx:{level}")
        files = to_onnx(config, tensors, level, stage, pooling=spec.pooling, moments=moments)
        weights[level] = Weights(format="onnx", level=level, files=tuple(describe(path, stage) for path in files))
    return weights


def _publish(stage: Path, target: Path) -> None:
    """Put the finished folder in its place in one step; an older one goes only once the new one is safe on disk."""
    for path in [*stage.rglob("*"), stage]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    stage.chmod(0o755)
    older = stage.with_suffix(".older")
    if target.exists():
        target.rename(older)
    stage.rename(target)
    shutil.rmtree(older, ignore_errors=True)
