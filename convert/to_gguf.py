"""A checkpoint -> GGUF files for llama.cpp: F32, F16 and BF16 by gguf-py, every other level by llama.cpp's quantiser.

Quantised from F16, whose rounding (2^-12 of a weight) is far below that of the finest level made from it (Q8_0: 2^-8
of the largest of 32); bfloat16 weights pass through it unchanged but for those below 2^-14 in magnitude.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from edge_embed.spec import LEVELS as KNOWN
from edge_embed.spec import Weights

from .calibrate import Moments
from .card import describe
from .export import Export
from .gguf_file import TYPES, entries, write_file
from .gguf_ids import check_ids
from .gguf_quantize import quantize
from .imatrix import importance, write_imatrix
from .source import Source
from .verify import Bound

SUFFIX = "-GGUF"
LEVELS = KNOWN["gguf"]
ALL = (
    *("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "IQ4_NL"),
    *("IQ4_XS", "Q3_K_M", "IQ3_M", "Q2_K", "IQ2_M", "IQ1_M", "IQ1_S"),
)
BASE = "F16"
BOUNDS: dict[str, Bound] = {}
UNWEIGHTED = (*TYPES, "Q8_0")  # importance changes nothing in them
SHORT = re.compile(r"jina-embeddings-(v\d+)-text-(.+)")  # files of this family leave out what they have in common


def calibrated(source: Source, levels: Sequence[str]) -> bool:
    """Whether some level weighs errors by importance."""
    return bool(set(levels) - set(UNWEIGHTED))


def write(export: Export) -> list[Weights]:
    """Write the file of each level, and with `moments` the importance file that llama-quantize takes.

    Reports which matrices a level's type does not fit. Raises InputError for a level that needs moments and has none,
    VerificationError when llama.cpp's tokenizer gives other ids than tokenizer.json.
    """
    source, folder = export.source, export.folder
    stem = stem_of(source.spec.name)
    paths = {level: folder / f"{stem}-{level}.gguf" for level in (BASE, *export.levels)}
    tokenizer = source.folder / "tokenizer.json"
    for level in [BASE, *(set(export.levels) & set(TYPES) - {BASE})]:
        export.report(f"gguf:{level}")
        if large := write_file(paths[level], source, level, tokenizer):
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
    weighed = None if seen is None else {name: moments.square for name, moments in seen.items()}
    tensors = len(entries(export.source))
    with tqdm(total=len(levels) * tensors, unit=" tensors", disable=None, leave=False) as bar:
        for level in levels:
            export.report(f"gguf:{level}")
            bar.set_description(level)
            for line in quantize(paths[BASE], paths[level], level, weighed, bar.update):
                export.report(f"gguf:{level}: {line}")
