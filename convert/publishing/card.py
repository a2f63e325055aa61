"""What an artefact says of itself: edge_embed.json, the model card, SHA256SUMS."""

from __future__ import annotations

import re
from pathlib import Path

from edge_embed.formats.card import card_head
from edge_embed.hub.checksums import SUMS
from edge_embed.spec.model import FILE_NAME, ModelSpec

from ..export import describe, exporter
from ..verification.verdicts import Results
from .others import has_sides
from .snippets import snippets, tags

LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,8})?")
REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


def write_card(folder: Path, name: str, spec: ModelSpec, results: Results, source: Path) -> None:
    """Write edge_embed.json, README.md and, last, the sums of every file in the folder, which is to be called `name`.

    The languages are those that the card of the `source` folder names.
    """
    (folder / FILE_NAME).write_text(spec.to_json(), "utf-8")
    (folder / "README.md").write_text(_readme(folder, name, spec, results, languages(source / "README.md")), "utf-8")
    write_sums(folder)


def write_sums(folder: Path) -> None:
    """Write the sums of every file in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{entry.sha256}  {entry.path}\n" for entry in (describe(path, folder) for path in files)]
    (folder / SUMS).write_text("".join(lines), "utf-8")


def languages(card: Path) -> list[str]:
    """Read the codes of `language:` in the YAML head of a model card; none where it says nothing that can be read."""
    lines = card_head(card)
    at = next((n for n, line in enumerate(lines) if line.startswith("language:")), None)
    if at is None:
        return []
    words = lines[at].removeprefix("language:").strip(" []").split(",")
    for line in lines[at + 1 :]:
        if not line.lstrip().startswith("- "):
            break
        words.append(line.lstrip()[2:])
    codes = (word.strip(" \"'") for word in words)
    return list(dict.fromkeys(code for code in codes if LANGUAGE.fullmatch(code)))


def _readme(folder: Path, name: str, spec: ModelSpec, results: Results, codes: list[str]) -> str:
    prompts = [f"- `{name}`: `{template!r}`" for name, template in spec.prompts.items()] or ["none"]
    dims = ", ".join(str(dim) for dim in sorted({*spec.matryoshka_dims, spec.dim}))
    task = f", task {spec.task}" if spec.task else ""
    lines = [
        *_head(spec, codes, tags(folder, name, spec)),
        f"# {name}",
        "",
        f"{spec.architecture}, {spec.attention} attention, {spec.pooling} pooling, {spec.max_tokens} tokens, "
        f"dimensions {dims}{task}. Converted by edge_embed from {spec.source or 'a local checkpoint'}"
        f"{f' at {spec.revision}' if spec.revision else ''}.",
        "",
        *_licence(folder, spec),
        *([*snippets(folder, name, spec), *_table(spec, results)] if spec.weights else []),
        "Prompts:",
        "",
        *prompts,
        "",
        f"Vector space: `{spec.fingerprint}`",
        "",
    ]
    return "\n".join(lines)


def _head(spec: ModelSpec, codes: list[str], readers: list[str]) -> list[str]:
    """Return the YAML head, by which a hub files a model."""
    formats = sorted({weights.format for weights in spec.weights})
    sides = ["sentence-similarity", *(["retrieval"] if has_sides(spec) else [])]
    lines = ["---", *([f"license: {spec.license}"] if spec.license else [])]
    if spec.source and REPOSITORY.fullmatch(spec.source):
        lines += [f"base_model: {spec.source}", "base_model_relation: quantized"]
    lines += ["language:", *(f"- {code!r}" for code in codes)] if codes else []  # no: without quotes it is false
    lines += ["library_name: edge_embed", "pipeline_tag: feature-extraction", "tags:"]
    lines += [f"- {tag}" for tag in ("edge_embed", "embeddings", *sides, spec.architecture, *formats, *readers)]
    return [*lines, "---", ""]


def _licence(folder: Path, spec: ModelSpec) -> list[str]:
    """Say the licence, and where its text is: in the folder, or with the model that this one was made from."""
    if spec.license is None:
        return []
    own = next((path.name for path in sorted(folder.glob("LICENSE*"))), None)
    origin = f"https://huggingface.co/{spec.source}" if spec.source and REPOSITORY.fullmatch(spec.source) else None
    place = own or origin
    return [f"Licence: {f'[{spec.license}]({place})' if place else spec.license}.", ""]


def _table(spec: ModelSpec, results: Results) -> list[str]:
    """Say what the levels keep, and which of them were kept below their bound."""
    rows = []
    for weights in spec.weights:
        size = sum(file.size or 0 for file in weights.files) / 1e6
        loss, bound = results[weights.part, weights.level].loss, exporter(weights.format).BOUNDS[weights.level]
        cells = [f"`{weights.name}`", f"`{weights.files[0].path}`", f"{size:.1f}"]
        cells += [f"{loss.mean:.5f} ({bound.mean})", f"{loss.min:.5f} ({bound.least})"]
        rows.append(f"| {' | '.join(cells)} |")
    lost = [(weights.name, weights.fidelity.accepted) for weights in spec.weights if weights.fidelity]
    accepted = [f"`{name}` lies below the bound of its level: {loss}.\n" for name, loss in lost if loss is not None]
    return [
        "| level | file | MB | mean cosine (bound) | minimum cosine (bound) |",
        "|---|---|---|---|---|",
        *rows,
        "",
        *accepted,
        f"Cosines are to the float32 graph, over {next(iter(results.values())).texts} probe texts in many languages.",
        "",
    ]
