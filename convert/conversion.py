"""SOURCE -> a folder a format of the levels that pass, complete: weights, tokenizer, spec, card and sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_embed.architectures import parts
from edge_embed.errors import InputError, VerificationError
from edge_embed.formats.mmproj import read_mmproj
from edge_embed.spec.model import FILE_NAME, ModelSpec, space_fingerprint
from edge_embed.spec.weights import REPOSITORY_SUFFIXES, Format, Weights

from .calibrate import calibrate, read_texts
from .checkpoint.mmproj import Tensors, config_of
from .checkpoint.moments import Moments
from .checkpoint.safetensors import write_safetensors
from .checkpoint.smooth import levelled
from .checkpoint.source import Array, Source
from .export import Export, describe, exporter, targets
from .onnx.export import to_onnx, write_image
from .onnx.file import level_pairs
from .publishing.card import write_card, write_sums
from .publishing.layout import write_layout
from .publishing.staging import publish, staging
from .variant import open_variant
from .verification.goldens import make_golden_images, make_goldens
from .verification.verdicts import Verdicts, judge
from .verification.verify import Reference, embed

Report = Callable[[str], object]
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
    accept_loss: bool = False,
    portable: bool = False,
    report: Report = lambda line: None,
) -> list[Path]:
    """Convert a checkpoint folder to each `FORMAT:LEVEL` of `to` -> a folder a format, each whole or not there at all.

    When it returns, every level asked for is there. When some fall below their bound, the others are published all the
    same, and VerificationError is raised after that: it names those refused, with their figures, and its `kept` lists
    the folders that were published; none, and nothing is left behind, when no level passed. With `accept_loss` a level
    below its bound is kept: edge_embed.json and the card tell what it loses, and the runtime warns when it is loaded.

    ONNX -> OUT/<name>/, GGUF -> OUT/<name>-GGUF/, MLX -> OUT/<name>-mlx/. `task` merges one of the checkpoint's
    adapters -> <name>-<task>; `adapter` a PEFT LoRA folder from elsewhere -> <name>, or <source's>-<adapter's folder>.
    `spec` holds keys of edge_embed.json that win over what the folder says. `calibration` is a file of texts, one a
    line, instead of our own; `group_size` counts weights to one MLX scale. `keep_checkpoint` adds the weights, merged
    and in float32, as model.safetensors in OUT/<name>/. `portable` adds to each ONNX level a graph in ONNX's standard
    operators, under the name that other readers look for, on the same weights.
    Raises InputError for an unknown level, task or key or an existing folder, ModelError for a checkpoint that cannot
    be converted; then nothing is left behind.
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
    found: dict[Format, Verdicts] = {}
    weights = opened.tensors
    opened = replace(opened, tensors=levelled(weights, level_pairs(opened.config, weights)))
    with staging(dict.fromkeys([PLAIN, *sorted(wanted)]), opened.spec.name, out) as stages:
        opened, reference = _reference(stages[PLAIN], opened, portable)
        moments = _moments(opened, wanted, stages[PLAIN], texts, report)
        for kind, stage in stages.items():
            export = Export(
                folder=stage,
                source=opened,
                levels=wanted.get(kind, []),
                moments=moments,
                group_size=group_size,
                portable=portable,
                report=report,
            )
            if kind in places:
                found[kind] = _fill(kind, export, reference, accept_loss, weights if keep_checkpoint else None)
        kept = {kind for kind, verdicts in found.items() if verdicts.kept}
        if kept and keep_checkpoint:
            kept.add(PLAIN)
        places = {kind: place for kind, place in places.items() if kind in kept}
        if places:
            publish(stages, places)
    if refused := [line for verdicts in found.values() for line in verdicts.refused]:
        raise VerificationError(_refusal(refused, list(places.values())), list(places.values()))
    return list(places.values())


def _refusal(refused: list[str], kept: list[Path]) -> str:
    """Say which levels were refused, what became of the others, and what to do."""
    others = f"kept are {', '.join(map(str, kept))}" if kept else "nothing was kept"
    return f"{'; '.join(refused)}; {others}. --accept-loss (accept_loss=True) keeps levels below their bound"


def _reference(stage: Path, source: Source, portable: bool) -> tuple[Source, Reference]:
    """Write the float32 graph, which judges every artefact -> the source, fingerprinted, and the probes' vectors."""
    write_layout(stage, source, source.spec, portable)
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


def _fill(
    kind: Format, export: Export, reference: Reference, accept_loss: bool, checkpoint: Mapping[str, Array] | None
) -> Verdicts:
    """Write everything into the staging folder: weights, those that are kept, then what the folder says of itself.

    The folder of PLAIN also holds the `checkpoint`, if one is given.
    """
    stage, spec = export.folder, export.source.spec
    if kind != PLAIN:
        write_layout(stage, export.source, spec)
    try:
        weights = write_parts(kind, export)
    except VerificationError as error:  # nothing of this format can be right
        return Verdicts(refused=[f"{kind} was not kept: {error}"])
    _write_spec(stage, spec, weights)
    found = judge(stage, spec, weights, reference, accept_loss, export.report)
    if kind == PLAIN and EXACT not in export.levels:
        for path in (stage / "onnx").glob("*model.onnx*"):
            path.unlink()
    if kind == PLAIN and not found.kept:
        (stage / "onnx").rmdir()
    if kind == PLAIN and checkpoint is not None:
        write_safetensors(checkpoint, stage / "model.safetensors")
    name = spec.name + REPOSITORY_SUFFIXES[kind]
    write_card(stage, name, replace(spec, weights=tuple(found.kept)), found.results, export.source.folder)
    return found


def write_parts(kind: Format, export: Export) -> list[Weights]:
    """Write the text part's weights, and the image part's, where there is one and the format has none of its own."""
    weights: list[Weights] = exporter(kind).write(export)
    if "image" in parts(export.source.spec.architecture):
        for level in exporter(kind).image_levels(export.levels):
            export.report(f"onnx:{level}, image part")
            weights.append(write_image(export.source, export.folder, level, export.portable))
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
        write_sums(stages[FOLDER])
        publish(stages, {FOLDER: place})
    return place
