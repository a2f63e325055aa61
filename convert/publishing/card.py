"""What an artefact says of itself: edge_embed.json, the model card, SHA256SUMS."""

from __future__ import annotations

from pathlib import Path

from edge_embed.hub.checksums import SUMS
from edge_embed.spec.model import FILE_NAME, ModelSpec

from ..export import describe
from ..verification.verdicts import Results


def write_card(folder: Path, spec: ModelSpec, results: Results) -> None:
    """Write edge_embed.json, README.md and, last, the sums of every file in the folder."""
    (folder / FILE_NAME).write_text(spec.to_json(), "utf-8")
    (folder / "README.md").write_text(_readme(spec, results), "utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{entry.sha256}  {entry.path}\n" for entry in (describe(path, folder) for path in files)]
    (folder / SUMS).write_text("".join(lines), "utf-8")


def _readme(spec: ModelSpec, results: Results) -> str:
    rows = []
    for weights in spec.weights:
        size = sum(file.size or 0 for file in weights.files) / 1e6
        result = results[weights.part, weights.level]
        name, path = weights.name, weights.files[0].path
        rows.append(f"| `{name}` | `{path}` | {size:.1f} | {result.loss.mean:.5f} | {result.loss.min:.5f} |")
    prompts = [f"- `{name}`: `{template!r}`" for name, template in spec.prompts.items()] or ["none"]
    dims = ", ".join(str(dim) for dim in sorted({*spec.matryoshka_dims, spec.dim}))
    task = f", task {spec.task}" if spec.task else ""
    head = ["---", *([f"license: {spec.license}"] if spec.license else []), "library_name: edge_embed"]
    head += ["pipeline_tag: feature-extraction", "---", ""]
    lines = [
        *head,
        f"# {spec.name}",
        "",
        f"{spec.architecture}, {spec.attention} attention, {spec.pooling} pooling, {spec.max_tokens} tokens, "
        f"dimensions {dims}{task}. Converted by edge_embed from {spec.source or 'a local checkpoint'}"
        f"{f' at {spec.revision}' if spec.revision else ''}.",
        "",
        *(_use(spec, rows, next(iter(results.values())).texts) if rows else []),
        "Prompts:",
        "",
        *prompts,
        "",
        f"Vector space: `{spec.fingerprint}`",
        "",
    ]
    return "\n".join(lines)


def _accepted(spec: ModelSpec) -> list[str]:
    """Tell of weights that were kept below their bound."""
    lost = [(weights.name, weights.fidelity.accepted) for weights in spec.weights if weights.fidelity]
    lines = [f"`{name}` lies below the bound of its level: {loss}.\n" for name, loss in lost if loss is not None]
    return lines


def _use(spec: ModelSpec, rows: list[str], texts: int) -> list[str]:
    """Say how to load the folder, and what its levels keep."""
    return [
        "```python",
        "from edge_embed import Embedder",
        "",
        f'model = Embedder("path/to/this/folder:{spec.weights[0].level}")',
        'vectors = model.encode(["What is knowledge distillation?"])',
        "```",
        "",
        "| level | file | MB | mean cosine | minimum cosine |",
        "|---|---|---|---|---|",
        *rows,
        "",
        *_accepted(spec),
        f"Cosines are to the float32 graph, over {texts} probe texts in many languages.",
        "",
    ]
