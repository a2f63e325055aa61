"""One architecture, one file, found by `model_type` of config.json, which `edge_embed.architectures` reads.

Each file has Model(config), an `mlx.nn.Module` whose parameters are called as the checkpoint calls them, and
SENSITIVE_LAYERS, how the names of the linear layers end that get more bits where others have 4. A model has

- `vocab_size`, and `max_positions`, the longest text that it can compute, None where there is no such limit;
- `__call__(ids, lengths, padded, pooling)`: ids int32 (batch, tokens), padded on the right if `padded`, lengths int32
  (batch,) -> hidden states: (batch, dim) of the row that the pooling needs, or (batch, tokens, dim). A language model
  that reads images takes `image_rows` as well: text, position and rows (n, dim) of each image;
- `causal`, whether texts may have their beginning computed once: prefix(ids) then gives what is called with as `past`.

One that takes images has ImageModel(config), too, with

- `size`, (height, width) of the pixels;
- `__call__(pixels)`: (tiles, 3, height, width) -> vectors (tiles, dim), or where a language model reads them the
  patches' rows (tiles, patches, dim), and `image_newline` (dim,), which stands between lines of them.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_embed.architectures import architecture, file_name, implementation, parts, renamed
from edge_embed.architectures._renamed import Renamed
from edge_embed.errors import MissingDependencyError, UnsupportedModelError
from edge_embed.remedies.installing import install_extra, install_package
from edge_embed.spec.weights import Part

try:
    import mlx.core  # noqa: F401  # without its engine the package mlx itself is there, and this fails
except ImportError as error:
    COMMANDS = {
        "Darwin": install_extra("mlx"),
        "Linux": f"{install_package('mlx[cpu]')}, or 'mlx[cuda]' for an NVIDIA GPU",
    }
    raise MissingDependencyError(
        f"backend 'mlx' needs MLX, which cannot be loaded here ({error}): "
        + COMMANDS.get(platform.system(), f"there is none for {platform.system()}, choose another backend")
    ) from error


@dataclass(frozen=True)
class PartModel:
    """A part's model, its weights yet to be loaded, and how a checkpoint names them."""

    model: Any
    prefixes: tuple[str, ...]
    unused: tuple[str, ...]
    sensitive: tuple[str, ...] = ()
    renamed: tuple[Renamed, ...] = ()

    def plain(self, name: str) -> str:
        """Return a tensor's name without what the checkpoint puts before it."""
        return name.removeprefix(next((prefix for prefix in self.prefixes if name.startswith(prefix)), ""))

    def reads(self, name: str) -> bool:
        """Whether a checkpoint's tensor belongs to this part; another part's, and heads, do not."""
        return not self.plain(name).startswith(self.unused) and not name.startswith(self.unused)


def model_of(model_type: str) -> Any:
    """Return the module of an architecture; raise UnsupportedModelError, listing what exists, when there is none."""
    advice = f". A new architecture is a file edge_embed/backends/mlx/models/{file_name(model_type)}.py"
    return implementation(__name__, model_type, "is not implemented for MLX; {known} are", advice)


def build(model_type: str, config: Mapping[str, Any], part: Part = "text") -> PartModel:
    """Build a part as config.json says; its parameters are lazy, so what is not loaded costs nothing.

    Raises UnsupportedModelError for a value that is not implemented, or for a part that the architecture lacks.
    """
    module, known = model_of(model_type), architecture(model_type)
    if part not in parts(model_type):
        raise UnsupportedModelError(f"architecture {model_type!r} has no {part} part")
    try:
        if part == "image":
            image = known.read_image(config)
            return PartModel(module.ImageModel(image), known.IMAGE_PREFIXES, known.image_unused(image))
        return PartModel(
            module.Model(known.read(config)), known.PREFIXES, known.UNUSED, module.SENSITIVE_LAYERS, renamed(model_type)
        )
    except ValueError as error:  # MLX's own modules check what they are made with, such as a norm's eps
        raise UnsupportedModelError(f"config.json: MLX cannot build this model: {error}") from error
