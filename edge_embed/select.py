"""Which weights, how many threads and how large a batch fit this machine, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .backends import check
from .decoding import read_json
from .device import usable_cpus
from .errors import InputError, listing
from .mlx_layout import stored_level
from .repo import Repo, most_exact
from .spec import LEVELS, File, ModelSpec, Weights

BATCH_TOKENS = 1024  # int8 all-MiniLM-L6-v2 lost a tenth at 2048, a quarter at 8192; benchmarks/speed.py --batch-tokens
RUNTIME_BYTES = 150 << 20  # Python, NumPy, tokenizer and engine, before any weight
TOKEN_FLOATS = 32  # activations alive at once for one token, in dims; 16 were measured on v5-small's shape
CONVERTED = {"onnx": "float32", "gguf": "F16", "mlx": "float32"}  # the level that a checkpoint gets if none is named
UNITS = {"": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


@dataclass(frozen=True)
class Choice:
    """What will be loaded: weights (their `files` empty: to be converted first), and one line that says why."""

    weights: Weights
    why: str

    @property
    def ready(self) -> bool:
        """Whether the files exist already."""
        return bool(self.weights.files)


def choose(repo: Repo, backend: str = "auto", level: str | None = None) -> Choice:
    """Pick the weights of a model's folder; the most exact unless a level is named, or float32 of a checkpoint.

    A level that one format alone has implies its backend. Raises InputError for a backend or level that the folder
    does not have, and lists those it has.
    """
    if backend != "auto":
        check(backend)
    texts = [weights for weights in repo.spec.weights if weights.part == "text"]
    fits = [w for w in texts if backend in ("auto", w.format) and level in (None, w.level)]
    if fits:
        return Choice(most_exact(fits), "named" if level else f"the most exact of {listing(repo.levels())}")
    if backend == "mlx" and repo.checkpoint is not None and repo.checkpoint.suffix == ".safetensors":
        stored = stored_level(repo.checkpoint, read_json(repo.folder / "config.json"))
        if level in (None, stored):  # MLX reads a checkpoint as it is
            files = (File(path=repo.checkpoint.name),)
            return Choice(Weights(format="mlx", level=stored, files=files), "the checkpoint itself")
    formats = [name for name in ("onnx", "gguf", "mlx") if backend in ("auto", name)]
    target = next((name for name in formats if (level or CONVERTED[name]) in LEVELS[name]), None)
    if repo.checkpoint is not None and target is not None:
        weights = Weights(format=target, level=level or CONVERTED[target], files=())
        return Choice(weights, f"converted from {repo.checkpoint.name}")
    raise InputError(
        f"{repo.folder} has no {level or 'weights'} for backend {backend!r}; it has {listing(repo.levels())}"
    )


def thread_count(threads: int | None) -> int:
    """Return the threads to use: as asked, else every CPU that this process may use."""
    if threads is not None and threads < 1:
        raise InputError(f"threads={threads} must be at least 1")
    return threads or usable_cpus()


def batch_budget(spec: ModelSpec, weights_bytes: int, max_memory: int | str | None) -> int:
    """Return how many tokens, padding included, one batch may hold within `max_memory` bytes (or "512MB", "2GB").

    Raises InputError when the weights and one text of `max_tokens` do not fit.
    """
    if max_memory is None:
        return BATCH_TOKENS
    fixed = RUNTIME_BYTES + weights_bytes  # the engine repacks weights one by one and drops the file's pages
    per_token = TOKEN_FLOATS * 4 * spec.dim
    tokens = (_bytes(max_memory) - fixed) // per_token
    if tokens < spec.max_tokens:
        least = -(-(fixed + spec.max_tokens * per_token) >> 20)
        raise InputError(
            f"max_memory={max_memory!r} is too little: {spec.name} needs about {least} MB for texts of "
            f"{spec.max_tokens} tokens; give more, a smaller max_tokens, or a smaller level"
        )
    return min(BATCH_TOKENS, tokens)


def _bytes(size: int | str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(|KB|MB|GB)", str(size).strip(), re.I)
    if found is None:
        raise InputError(f"{size!r} is not a size: give bytes, or a text such as '512MB' or '2GB'")
    return int(float(found[1]) * UNITS[found[2].upper()])
