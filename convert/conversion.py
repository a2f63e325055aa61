"""SOURCE -> a folder a format, complete and verified, or nothing: every level, tokenizer, spec, card and sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_embed.architectures import parts
from edge_embed.errors import InputError
from edge_embed.formats.mmproj import read_mmproj
from edge_embed.spec.model import FILE_NAME, ModelSpec, space_fingerprint
from edge_embed.spec.weights import REPOSITORY_SUFFIXES, Format, Part, Weights

from .calibrate import calibrate, read_texts
from .checkpoint.mmproj import Tensors, config_of
from .checkpoint.moments import Moments
from .checkpoint.safetensors import write_safetensors
from .checkpoint.source import Source
from .export import Export, describe, exporter, targets
from .onnx.export import to_onnx, write_image
from .publishing.card import Results, write_card
from .publishing.layout import write_layout
from .publishing.staging import publish, staging
from .variant import open_variant
from .verification.goldens import make_golden_images, make_goldens, with_fidelity
from .verification.verify import Vectors, embed, verify

Report = Callable[[str], object]
Reference = dict[Part, Vectors]  # the probes' exact vectors by the part that gives them
PLAIN: Format = "onnx"  # the format of the folder without a suffix, which holds the reference and the merged checkpoint
EXACT = "float32"
FOLDER = "images"


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
    group_size: int = 64,
    keep_checkpoint: bool = False,
    report: Report = lambda line: None,
) -> list[Path]:
    """Convert a checkpoint folder to each `FORMAT:LEVEL` of `to` -> a folder a format, each whole or not there at all.

    ONNX -> OUT/<name>/, GGUF -> OUT/<name>-GGUF/, MLX -> OUT/<name>-mlx/. `task` merges one of the checkpoint's
    adapters -> <name>-<task>; `adapter` a PEFT LoRA folder from elsewhere -> <name>, or <source's>-<adapter's folder>.
    `spec` holds keys of edge_embed.json that win over what the folder says. `calibration` is a file of texts, one a
    line, instead of our own; `group_size` counts weights to one MLX scale. `keep_checkpoint` adds the weights, merged
    and in float32, as model.safetensors in OUT/<name>/.
    Raises InputError for an unknown level, task or key or an existing folder, ModelError for a checkpoint that cannot
    be converted, VerificationError when an artefact falls below its bound; then nothing is left behind.
    """
    wanted = targets(to)
    texts = read_texts(calibration)
    opened = open_variant(source, name, task, adapter, spec or {})
    places = {kind: out / (opened.spec.name + REPOSITORY_SUFFIXES[kind]) for kind in wanted}
    if keep_checkpoint:
        places.setdefault(PLAIN, out / opened.spec.name)
    if existing := [str(place) for place in places.values() if place.exists()] if not overwrite else []:
        raise InputError(f"{' and '.join(existing)} exists: pass --overwrite, or another --out or --name")
    out.mkdir(parents=True, exist_ok=True)
    with staging(dict.fromkeys([PLAIN, *sorted(wanted)]), opened.spec.name, out) as stages:
        opened, reference = _reference(stages[PLAIN], opened)
        moments = _moments(opened, wanted, stages[PLAIN], texts, report)
        for kind, stage in stages.items():
            export = Export(
                folder=stage,
                source=opened,
                levels=wanted.get(kind, []),
                moments=moments,
                group_size=group_size,
                report=report,
            )
            if kind in places:
                _fill(kind, export, reference, keep_checkpoint)
        publish(stages, places)
    return list(places.values())


def _reference(stage: Path, source: Source) -> tuple[Source, Reference]:
    """Write the float32 graph, which judges every artefact -> the source, fingerprinted, and the probes' vectors."""
    write_layout(stage, source, source.spec)
    tokenizer = describe(stage / "tokenizer.json", stage).sha256 or ""
    fingerprint = source.spec.fingerprint or space_fingerprint(source.spec, source.identity(), tokenizer)
    source = replace(source, spec=replace(source.spec, fingerprint=fingerprint))
    parts = write_parts(PLAIN, Export(folder=stage, source=source, levels=[EXACT]))
    spec = source.spec
    _write_spec(stage, spec, parts)
    reference = {exact.part: embed(stage, spec, exact)[0] for exact in parts}
    spec = replace(spec, golden=make_goldens(stage, spec, parts[0]))
    if len(parts) > 1:
        spec = replace(spec, golden_images=make_golden_images(stage, spec, parts[1]))
    return replace(source, spec=spec), reference


def _moments(
    source: Source, wanted: Mapping[Format, list[str]], stage: Path, texts: list[str], report: Report
) -> Mapping[str, Moments] | None:
    """Calibrate, if some level asks for it."""
    if not any(exporter(kind).calibrated(source, levels) for kind, levels in wanted.items()):
        return None
    report(f"calibrating on {len(texts)} texts")
    return calibrate(source.config, source.tensors, source.spec, stage / "tokenizer.json", texts)


def _fill(kind: Format, export: Export, reference: Reference, keep_checkpoint: bool) -> None:
    """Write everything into the staging folder: weights, verified, then what the folder says of itself."""
    stage, spec = export.folder, export.source.spec
    if kind != PLAIN:
        write_layout(stage, export.source, spec)
    weights = write_parts(kind, export)
    _write_spec(stage, spec, weights)
    results: Results = {}
    tested: list[Weights] = []
    for one in weights:
        bound = exporter(one.format).BOUNDS[one.level]  # the image part beside GGUF files is ONNX
        result = verify(stage, spec, one, reference[one.part], bound)
        results[one.part, one.level] = result
        tested.append(with_fidelity(stage, spec, one, bound.batch_deviation))
        part = ", image part," if one.part == "image" else ""
        export.report(
            f"{one.format}:{one.level}{part} verified: mean cosine {result.mean:.5f}, minimum {result.min:.5f}"
        )
    if kind == PLAIN and EXACT not in export.levels:
        for path in (stage / "onnx").glob("*model.onnx*"):
            path.unlink()
        if not export.levels:
            (stage / "onnx").rmdir()
    if kind == PLAIN and keep_checkpoint:
        write_safetensors(export.source.tensors, stage / "model.safetensors")
    write_card(stage, replace(spec, weights=tuple(tested)), results)


def write_parts(kind: Format, export: Export) -> list[Weights]:
    """Write the text part's weights, and the image part's, where there is one and the format has none of its own."""
    weights: list[Weights] = exporter(kind).write(export)
    if "image" in parts(export.source.spec.architecture):
        for level in exporter(kind).image_levels(export.levels):
            export.report(f"onnx:{level}, image part")
            weights.append(write_image(export.source, export.folder, level))
    return weights


def _write_spec(stage: Path, spec: ModelSpec, weights: Sequence[Weights]) -> None:
    """Say enough for the runtime to open the folder."""
    (stage / FILE_NAME).write_text(replace(spec, weights=tuple(weights)).to_json(), "utf-8")


def write_image_part(mmproj: Path, out: Path, level: str) -> Path:
    """Write the image part's graph into a folder of its own in `out`, whole or not at all -> that folder.

    Raises UnsupportedModelError for a tower that is not implemented, CorruptModelError for a damaged file.
    """
    header = read_mmproj(mmproj)
    tensors = Tensors(mmproj, header)
    place = out / FOLDER
    with staging([FOLDER], mmproj.stem, out) as stages:
        to_onnx(config_of(header, mmproj), tensors, level, stages[FOLDER], pooling="last", part="image")
        publish(stages, {FOLDER: place})
    return place
