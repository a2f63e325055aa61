"""SOURCE -> DIR/<name>/, complete and verified, or nothing: every level, tokenizer, spec, card and sums."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from edge_embed.errors import InputError, listing
from edge_embed.spec import FILE_NAME, File, ModelSpec, Weights, space_fingerprint

from .card import describe, write_card
from .onnx_levels import LEVELS
from .source import Source, open_source
from .to_onnx import architecture, to_onnx
from .verify import Result, embed, verify

# What other tools, sentence-transformers first, need beside the graph.
KEPT = (
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "*_Pooling/config.json",
    "LICENSE*",
)


def convert(
    source: Path,
    out: Path,
    to: Sequence[str],
    *,
    name: str | None = None,
    overwrite: bool = False,
    report: Callable[[str], object] = lambda line: None,
) -> Path:
    """Convert a checkpoint folder to each `FORMAT:LEVEL` of `to` -> DIR/<name>/, which appears whole or not at all.

    Raises InputError for an unknown level or an existing folder, ModelError for a checkpoint that cannot be converted,
    VerificationError when an artefact falls below its bound; then nothing is left behind.
    """
    levels = _levels(to)
    opened = open_source(source, name)
    spec = replace(opened.spec, attention=architecture(opened.spec.architecture).ATTENTION)
    target = out / spec.name
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists: pass --overwrite, or another --out or --name")
    out.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{spec.name}.", suffix=".partial", dir=out))
    try:
        _fill(stage, opened, spec, levels, report)
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


def _fill(stage: Path, source: Source, spec: ModelSpec, levels: list[str], report: Callable[[str], object]) -> None:
    for pattern in KEPT:
        for path in source.folder.glob(pattern):
            (stage / path.relative_to(source.folder)).parent.mkdir(exist_ok=True)
            shutil.copy(path, stage / path.relative_to(source.folder))
    reference_only = [] if "float32" in levels else ["float32"]
    weights: dict[str, Weights] = {}
    for level in [*reference_only, *levels]:
        report(f"onnx:{level}")
        files = to_onnx(source.config, source.tensors, level, stage, pooling=spec.pooling)
        entries: Iterable[File] = (describe(path, stage) for path in files)
        weights[level] = Weights(format="onnx", level=level, files=tuple(entries))
    tokenizer = describe(stage / "tokenizer.json", stage).sha256 or ""
    spec = replace(
        spec,
        weights=tuple(weights.values()),
        fingerprint=space_fingerprint(spec, source.tensors.identity(), tokenizer),
    )
    (stage / FILE_NAME).write_text(spec.to_json(), "utf-8")  # enough for the runtime to open it
    reference, _ = embed(stage, "float32")
    results: dict[str, Result] = {}
    for level in levels:
        results[f"onnx:{level}"] = result = verify(stage, level, reference)
        report(f"onnx:{level} verified: mean cosine {result.mean:.5f}, least {result.least:.5f}")
    for level in reference_only:
        for file in weights.pop(level).files:
            (stage / file.path).unlink()
    write_card(stage, replace(spec, weights=tuple(weights.values())), results)


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
