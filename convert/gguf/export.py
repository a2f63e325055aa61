"""A checkpoint -> GGUF files for llama.cpp: F32, F16 and BF16 by gguf-py, every other level by llama.cpp's quantiser.

Quantised from F16, whose rounding (2^-12 of a weight) is far below that of the finest level made from it (Q8_0: 2^-8
of the largest of 32); bfloat16 weights pass through it unchanged but for those below 2^-14 in magnitude.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_embed.errors import InputError, listing
from edge_embed.layouts.folder import TOKENIZER
from edge_embed.progress import progress
from edge_embed.spec.weights import LEVELS as KNOWN
from edge_embed.spec.weights import Weights, image_level

from ..checkpoint.moments import Moments
from ..checkpoint.source import Source
from ..checkpoint.watched import watched
from ..export import Bound, Export, describe
from . import dense
from .file import TYPES, entries, write_file
from .imatrix import importance, mean_squares, write_imatrix
from .quantize import quantize
from .token_ids import check_ids

LEVELS = KNOWN["gguf"]
ALL = (
    *("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "IQ4_NL"),
    *("IQ4_XS", "Q3_K_M", "IQ3_M", "Q2_K", "IQ2_M", "IQ1_M", "IQ1_S"),
)
BASE = "F16"
# Measured over the probes on two trained models of 4 x 256 and on all-MiniLM-L6-v2 (mean, least; the lowest of them):
# F16 .999999 .999997, BF16 .999994 .999987, Q8_0 .9995 .9977, Q6_K .9984 .9954, Q5_K_M .9960 .9879, Q4_K_M .9895 .9675,
# IQ4_XS .975 .928, Q3_K_M .978 .914, IQ3_M .959 .871, Q2_K .953 .826, IQ2_M .892 .633, IQ1_S .70 .44. The probes are in
# languages that these models do not know, and wider models lose less.
BOUNDS = {
    "F32": Bound(mean=0.99999, min=0.9999),
    **dict.fromkeys(("BF16", "F16"), Bound(mean=0.9999, min=0.9995)),
    "Q8_0": Bound(mean=0.998, min=0.99),
    "Q6_K": Bound(mean=0.995, min=0.98),
    **dict.fromkeys(("Q5_K_M", "Q5_1", "Q5_K_S", "Q5_0"), Bound(mean=0.985, min=0.95)),
    **dict.fromkeys(("Q4_K_M", "Q4_1", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q4_0"), Bound(mean=0.95, min=0.85)),
    **dict.fromkeys(("Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S", "Q3_K_S"), Bound(mean=0.9, min=0.75)),
    **dict.fromkeys(("IQ3_XS", "IQ3_XXS", "Q2_K", "Q2_K_S"), Bound(mean=0.85, min=0.6)),
    **dict.fromkeys(("IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS"), Bound(mean=0.7, min=0.3)),
    **dict.fromkeys(("IQ1_M", "IQ1_S"), Bound(mean=0.5, min=0.1)),
}
UNWEIGHTED = (*TYPES, "Q8_0")  # importance changes nothing in them
SHORT = re.compile(r"jina-embeddings-(v\d+)-text-(.+)")  # files of this family leave out what they have in common


def calibrated(source: Source, levels: Sequence[str]) -> bool:
    """Whether some level weighs errors by importance."""
    return bool(set(levels) - set(UNWEIGHTED))


def image_levels(levels: Sequence[str]) -> list[str]:
    """List the levels of the ONNX image part: llama.cpp packs tiles otherwise, and lacks jina-clip-v1's tower."""
    return sorted({image_level(level) for level in levels})  # float16 before int8


def write(export: Export) -> list[Weights]:
    """Write the file of each level, and with `moments` the importance file that llama-quantize takes.

    Reports which matrices a level's type does not fit. Raises InputError for a level that needs moments and has none,
    VerificationError when llama.cpp's tokenizer gives other ids than tokenizer.json.
    """
    source, folder = export.source, export.folder
    if export.moments is None and (blind := [level for level in export.levels if level.startswith("IQ")]):
        raise InputError(f"{listing(blind)} need the importance of every input: give calibration texts")
    stem = stem_of(source.spec.name)
    paths = {level: folder / f"{stem}-{level}.gguf" for level in (BASE, *export.levels)}
    tokenizer = (folder if TOKENIZER in source.made else source.folder) / TOKENIZER
    for level in [BASE, *(set(export.levels) & set(TYPES) - {BASE})]:
        export.report(f"gguf:{level}")
        with watched(source, f"gguf:{level}") as read:
            large = write_file(paths[level], read, level, tokenizer)
        if large:
            export.report(f"gguf:{level}: {len(large)} matrices stay F32, which float16 cannot hold: {large[0]}, ...")
    texts, left_out = check_ids(paths[BASE], tokenizer)
    beyond = f"; {left_out} are beyond it" if left_out else ""
    export.report(f"gguf: llama.cpp's tokenizer gives the ids of tokenizer.json for {texts} texts{beyond}")
    seen = importance(entries(source), export.moments) if export.moments is not None else None
    if seen is not None:
        write_imatrix(folder / f"{stem}.imatrix.gguf", seen)
    _quantize(export, paths, seen)
    if BASE not in export.levels:
        paths[BASE].unlink()
    return [Weights(format="gguf", level=level, files=(describe(paths[level], folder),)) for level in export.levels]


def stem_of(name: str) -> str:
    """Return how the files of a model begin: `v5-nano-x` for jina-embeddings-v5-text-nano-x, else with its name."""
    known = SHORT.fullmatch(name)
    return "-".join(known.groups()) if known else name


def _quantize(export: Export, paths: Mapping[str, Path], seen: Mapping[str, Moments] | None) -> None:
    levels = [level for level in export.levels if level not in TYPES]
    weighed = None if seen is None else {**dense.importance(export.source.spec), **mean_squares(seen)}
    tensors = len(entries(export.source))
    for level in levels:
        export.report(f"gguf:{level}")
        with progress(f"gguf:{level}", tensors, "tensors") as step:
            lines = quantize(paths[BASE], paths[level], level, weighed, step)
        for line in lines:
            export.report(f"gguf:{level}: {line}")
