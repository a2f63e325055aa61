"""How a published folder is used: by edge_embed, and by other readers where they can."""

from __future__ import annotations

from pathlib import Path

from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

from .others import encode, others


def snippets(folder: Path, name: str, spec: ModelSpec) -> list[str]:
    """Show how to load the folder, which is to be called `name`; its text weights come from the spec."""
    first = next(weights for weights in spec.weights if weights.part == "text")
    lines = [*_ours(name, first, spec), ""]
    for snippet in others(folder, name, spec):
        lines += snippet.lines()
    return lines


def tags(folder: Path, name: str, spec: ModelSpec) -> list[str]:
    """List what a hub tags a folder with that these readers load."""
    return [snippet.tag for snippet in others(folder, name, spec) if snippet.tag] if spec.weights else []


def _ours(name: str, weights: Weights, spec: ModelSpec) -> list[str]:
    return [
        "```python",
        "from edge_embed import Embedder",
        "",
        f'model = Embedder("./{name}:{weights.level}")  # beside the folder; from a hub "user/{name}:{weights.level}"',
        *encode(spec),
        "print(model.similarity(queries, documents))",
        "```",
    ]
