"""A checkpoint -> an ONNX graph at one level, in `onnx/` of a folder, smoothed where activations are quantised.

With `portable` there is one more graph on the same weights, in ONNX's standard operators: it takes the name that other
readers look for, and ours one of its own. It has the rows of all tokens, and the vector where a graph can know it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edge_embed.architectures import parts
from edge_embed.layouts.onnx import NAMES as ONNX_NAMES
from edge_embed.layouts.onnx import PARTS as ONNX_PARTS
from edge_embed.layouts.onnx import PORTABLE
from edge_embed.pipeline.head import read_head
from edge_embed.spec.model import Pooling
from edge_embed.spec.weights import Part, Weights

from ..checkpoint.moments import Moments
from ..checkpoint.smooth import smoothed
from ..checkpoint.source import Array, Source
from ..checkpoint.watched import watched
from ..export import Bound, Export, describe
from .file import AddHead, data_file, smooth_pairs, write_both, write_graph
from .head import add_head
from .levels import LEVELS

ALL = LEVELS
# A tower has 4 % of E5-V's weights and 39 % of jina-clip-v1's: four bits would save little of the one, and what they
# blur of an image no later layer can sharpen.
IMAGE_LEVELS = {"int4": "int8"}
SMOOTHED = ("int8",)  # int4 rounds activations in blocks of 32, where smoothing gained nothing on the miniatures
# Measured for int8 on all-MiniLM-L6-v2: 0.9961 in the mean, and over the probes, which are mostly in languages that it
# was never trained on, 0.9810 ("?!"), 0.9817 ("yes"), 0.9838 (""), 0.9903 and more. Where weights of norms change by
# 1e-7, or on aarch64, "?!" alone comes out at 0.9770. Where the scales of one layer are too large by a tenth, three lie
# below 0.98. int4: 0.9886 and 0.981 on the trained miniatures (tests/convert/onnx/test_levels.py).
BOUNDS = {
    "float32": Bound(mean=0.999999, min=0.99999),
    "float16": Bound(mean=0.9999, min=0.999),
    "int8": Bound(mean=0.995, min=0.98, outliers=1, outlier=0.95),
    "int4": Bound(mean=0.97, min=0.9),
}


def calibrated(source: Source, levels: Sequence[str]) -> bool:
    """Whether some level smooths, and the architecture can be."""
    smooths = set(levels) & set(SMOOTHED)
    return bool(smooths and smooth_pairs(source.config, source.tensors))


def image_levels(levels: Sequence[str]) -> list[str]:
    """List the levels at which the image part is written beside these of the text part."""
    return list(dict.fromkeys(IMAGE_LEVELS.get(level, level) for level in levels))


def write(export: Export) -> list[Weights]:
    """Write the text part's graph at each level into `onnx/`."""
    weights = []
    for level in export.levels:
        export.report(f"onnx:{level}")
        with watched(export.source, f"onnx:{level}") as source:
            files = to_onnx(
                source.config,
                source.tensors,
                level,
                export.folder,
                pooling=source.spec.pooled_rows,
                moments=export.moments,
                portable=export.portable,
                head=_head(source, export.folder),
            )
        described = tuple(describe(path, export.folder) for path in files)
        weights.append(Weights(format="onnx", level=level, files=described))
    return weights


def _head(source: Source, folder: Path) -> AddHead | None:
    """Return what adds a text's vector to a graph; none where a prompt is not pooled, which no graph can tell apart.

    Dense modules lie in the folder already.
    """
    if not source.spec.include_prompt:
        return None
    return partial(add_head, head=read_head(folder, source.spec), normalize=source.spec.normalize)


def write_image(source: Source, folder: Path, level: str, portable: bool = False) -> Weights:
    """Write the image part's graph at a level into `onnx/` of the folder, for whatever format its text part has."""
    with watched(source, f"onnx:{level}, image part") as read:
        files = to_onnx(
            read.config,
            read.tensors,
            level,
            folder,
            pooling=read.spec.pooled_rows,
            part="image",
            portable=portable,
        )
    described = tuple(describe(path, folder) for path in files)
    return Weights(format="onnx", level=level, files=described, part="image")


def to_onnx(
    config: Mapping[str, Any],
    tensors: Mapping[str, Array],
    level: str,
    folder: Path,
    *,
    pooling: Pooling,
    moments: Mapping[str, Moments] | None = None,
    part: Part = "text",
    portable: bool = False,
    head: AddHead | None = None,
) -> list[Path]:
    """Write a part's graph at a level, computing what the pooling needs -> its files, the one to open first.

    `moments` come from calibrate(); without them nothing is smoothed. With `portable` the last file is a graph in
    standard operators, to which `head` adds the texts' vectors.
    """
    prefix = ONNX_PARTS[part] if len(parts(config["model_type"])) > 1 else ""
    path = folder / "onnx" / (prefix + (PORTABLE[level] if portable else ONNX_NAMES[level][0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    if moments is not None and level in SMOOTHED and part == "text":
        tensors = smoothed(tensors, smooth_pairs(config, tensors), moments)
    if portable:
        return write_both(config, tensors, level, path, pooling, head, part=part)
    write_graph(config, tensors, level, path, pooling, part=part)
    return [path, data_file(path)]
