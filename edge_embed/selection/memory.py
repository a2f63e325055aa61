"""How much memory a model will take, from the headers of its files: no weight is read.

Every figure was measured by benchmarks/memory.py on Linux, x86-64: all-MiniLM-L6-v2 and random weights in the shapes of
v5-nano and v5-small, the resident peak of a process that embeds one batch. The pages of mapped files count as resident,
although the system may take them back.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from edge_embed.device.machine import this_device
from edge_embed.errors import InputError
from edge_embed.formats.gguf import Header, read_header
from edge_embed.formats.onnx import read_graph
from edge_embed.formats.safetensors import safetensors_header
from edge_embed.layouts.folder import Repo
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights, image_part

from .image_memory import Tower, most_rows, read_tower

MB = 1 << 20
UNITS = {"": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
RUNTIME = {"onnx": 72 * MB, "gguf": 60 * MB, "mlx": 62 * MB}  # Python, NumPy, tokenizer library, engine
TOKENIZER, TOKENIZER_CODE = 9, 7 * MB  # times the size of tokenizer.json (10 MB take 90), and its code
TOUCHED = 64 << 10  # bytes of a mapped table that one row brings into memory, with its neighbours
# Times the weights of MatMulNBits: while its scales lie in memory as they were, beside the packed copy, and after the
# file's pages were given back (backends/_onnx_pages.py).
INT4_LOADING, INT4_KEPT = 1.45, 1.19
MLP_COPIES = 4  # buffers of the MLP's width that are alive at once, for each token
ATTENTION_COPIES = {"GroupQueryAttention": 3.3}  # buffers of the model's width beside them
OTHER_COPIES = 6.7  # of attention that copies queries, keys and values: MultiHeadAttention
MLX_COPIES = 6, 14  # of the MLP's width and of the model's: it frees less between operations
LLAMA_COPIES = 3
# What backends/gguf.py does: texts up to TOGETHER tokens share calls, longer ones go by STEP with TAIL outputs.
TOGETHER, STEP, TAIL = 256, 512, 64
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4}
PER_WEIGHT = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "int8": 1.0, "8bit": 1.07, "int4": 0.64, "4bit": 0.57}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one candidate, `format:level`, will take at its peak, in bytes; `output` is the engine's own buffer.

    `picture` is what the image part takes beside the text part, where the model has one.
    """

    candidate: str
    weights: int
    kv: int = 0
    compute: int = 0
    output: int = 0
    picture: int = 0
    tokenizer: int = 0
    runtime: int = 0

    @property
    def total(self) -> int:
        """The resident peak."""
        parts = (self.weights, self.kv, self.compute, self.output, self.picture, self.tokenizer, self.runtime)
        return sum(parts)


def plans(repo: Repo, max_tokens: int | None, batch_tokens: int) -> list[Plan]:
    """Predict the peak of every candidate for texts of up to `max_tokens` (None: the model's own limit) tokens.

    Candidates are the weights that lie in the folder; of a checkpoint alone, the ONNX levels that it can be converted
    to. A batch holds `batch_tokens`, or one text, or one picture's rows, if that is longer. Raises CorruptModelError
    for a damaged header.
    """
    longest = min(max_tokens or repo.spec.max_tokens, repo.spec.max_tokens)
    tokenizer = TOKENIZER * repo.tokenizer.stat().st_size + TOKENIZER_CODE if repo.tokenizer.is_file() else 0
    found = []
    for weights in (one for one in repo.spec.weights if one.part == "text"):
        part = image_part(repo.spec.weights, weights)
        tower = read_tower(repo.folder, part) if part and repo.spec.image else None
        rows = max(longest, min(most_rows(repo.spec, tower.patch), repo.spec.max_tokens)) if tower else longest
        parts = _PARTS[weights.format](repo.folder, repo.spec, weights, max(rows, batch_tokens), rows)
        if tower and part:
            parts["picture"] = _picture(tower, repo.spec, parts["compute"], apart=part.files != weights.files)
        fixed = {"tokenizer": tokenizer, "runtime": RUNTIME.get(weights.format, RUNTIME["onnx"])}
        found.append(Plan(candidate=f"{weights.format}:{weights.level}", **parts, **fixed))
    if not found and repo.checkpoint is not None:
        fixed = {"tokenizer": tokenizer, "runtime": RUNTIME["onnx"]}
        for level in ("float32", "int8", "int4"):
            parts = _checkpoint(repo, level, max(longest, batch_tokens))
            found.append(Plan(candidate=f"onnx:{level}", **parts, **fixed))
    return found


def size_in_bytes(size: int | str) -> int:
    """Read a size: bytes, or a text such as "512MB" or "2GB", in powers of 1,024; raise InputError for another text."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(|KB|MB|GB)", str(size).strip(), re.I)
    if found is None:
        raise InputError(f"{size!r} is not a size: give bytes, or a text such as '512MB' or '2GB'")
    return int(float(found[1]) * UNITS[found[2].upper()])


def _picture(tower: Tower, spec: ModelSpec, text: int, apart: bool) -> int:
    """Return what an image part adds: its weights, unless they lie in the text part's file, and what it computes with.

    Where a language model reads its rows, the tower's memory is given back before that begins.
    """
    compute = tower.compute(spec)
    return (tower.weights if apart else 0) + (max(0, compute - text) if spec.image_token else compute)


def _onnx(folder: Path, spec: ModelSpec, weights: Weights, tokens: int, longest: int) -> dict[str, int]:
    graph = read_graph(folder / weights.files[0].path)
    ops = {node.op for node in graph.nodes}
    tables = {node.inputs[0] for node in graph.nodes if node.op == "Gather" and node.inputs[0] in graph.weights}
    looked_up = sum(graph.weights[name].size for name in tables)
    packed = sum(weight.size for weight in graph.weights.values()) - looked_up
    products = (weight.shape for name, weight in graph.weights.items() if name not in tables and len(weight.shape) > 1)
    width = max((min(shape[0], 1 << 16) if len(shape) == 3 else shape[-1] for shape in products), default=spec.dim)
    copies = next((count for op, count in ATTENTION_COPIES.items() if op in ops), OTHER_COPIES)
    compute = 4 * tokens * (MLP_COPIES * width + copies * spec.dim)
    if "Softmax" in ops:  # a graph with plain attention: scores of every token with every other, and their copy
        compute += 2 * 4 * longest * longest * _heads(folder) * max(1, tokens // longest)
    kept = 1.02
    if "MatMulNBits" in ops:
        kept, compute = INT4_KEPT, max(compute, (INT4_LOADING - INT4_KEPT) * packed)
    return {"weights": int(packed * kept) + _touched(looked_up, tokens), "compute": int(compute)}


def _gguf(folder: Path, spec: ModelSpec, weights: Weights, tokens: int, longest: int) -> dict[str, int]:
    files = [folder / file.path for file in weights.files]
    headers = [read_header(path) for path in files]
    tensors = {name: tensor for header in headers for name, tensor in header.tensors.items()}
    layers, width, kv_width, vocabulary = _llama_shape(headers[0], spec, tensors["token_embd.weight"].shape[1])
    per_token = 4 * (MLP_COPIES * width + LLAMA_COPIES * spec.dim)
    together = min(tokens, TOGETHER)
    long = longest if longest > TOGETHER else 0
    parts = {"weights": sum(path.stat().st_size for path in files)}  # what is repacked is let go of
    if spec.attention == "causal":
        outputs = TAIL * vocabulary * 4 * (2 if long else 1)  # scores over the vocabulary, computed and copied out
        kv = layers * kv_width * 2 * max(4 * together, 2 * _rounded(long))
        return {**parts, "kv": kv, "compute": per_token * min(tokens, STEP), "output": outputs + TAIL * per_token}
    called = max(together, _rounded(long))
    return {**parts, "compute": per_token * called, "output": 4 * vocabulary * max(together, long)}


def _mlx(folder: Path, spec: ModelSpec, weights: Weights, tokens: int, longest: int) -> dict[str, int]:
    """Plan as the backend loads: on a CPU all in float32, one tensor after the other."""
    whole, halves = 0, [0]
    for file in weights.files:
        for entry in safetensors_header(folder / file.path).values():
            start, stop = entry["data_offsets"]
            whole += stop - start
            halves += [stop - start] * (entry["dtype"] in ("F16", "BF16"))
    width = _config(folder).get("intermediate_size", 4 * spec.dim)
    compute = 4 * tokens * (MLX_COPIES[0] * width + MLX_COPIES[1] * spec.dim)
    if this_device().apple:
        return {"weights": whole, "compute": compute}
    return {"weights": whole + sum(halves), "compute": max(compute, *halves)}


_PARTS = {"onnx": _onnx, "gguf": _gguf, "mlx": _mlx}


def _checkpoint(repo: Repo, level: str, tokens: int) -> dict[str, int]:
    """Predict the graph that a checkpoint will be converted to, from the shapes of its tensors."""
    assert repo.checkpoint is not None  # the caller looked
    embedding, others = 0, 0
    for path in repo.checkpoint.parent.glob("model*.safetensors"):
        for name, entry in safetensors_header(path).items():
            if name.endswith(("embed_tokens.weight", "word_embeddings.weight")):
                embedding += math.prod(entry["shape"])
            else:
                others += math.prod(entry["shape"])
    table = int(embedding * (4 if level == "float32" else 1))
    width = _config(repo.folder).get("intermediate_size", 4 * repo.spec.dim)
    packed = others * PER_WEIGHT[level] * (INT4_LOADING if level == "int4" else 1.02)
    compute = 4 * tokens * (MLP_COPIES * width + OTHER_COPIES * repo.spec.dim)
    return {"weights": int(packed) + _touched(table, tokens), "compute": int(compute)}


def _touched(table: int, rows: int) -> int:
    """Return how much of a mapped table is resident after `rows` rows of it, anywhere, were read."""
    return int(table * -math.expm1(-rows * TOUCHED / table)) if table else 0


def _llama_shape(header: Header, spec: ModelSpec, vocabulary: int) -> tuple[int, int, int, int]:
    """Return layers, the MLP's width, the width of the keys, and the vocabulary's size."""
    kind = header.metadata.get("general.architecture")

    def number(key: str, default: int) -> int:
        value = header.metadata.get(f"{kind}.{key}", default)
        return value if isinstance(value, int) else default

    heads = number("attention.head_count", 1)
    size = number("attention.key_length", spec.dim // heads)
    keys = number("attention.head_count_kv", heads) * size
    return number("block_count", 1), number("feed_forward_length", 4 * spec.dim), keys, vocabulary


def _rounded(count: int) -> int:
    return 1 << (count - 1).bit_length() if count else 0


def _heads(folder: Path) -> int:
    config = _config(folder)
    return config.get("num_attention_heads") or config.get("n_heads") or 12


def _config(folder: Path) -> dict[str, int]:
    """Return the numbers of config.json; none where there is no such file."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        merged = {**config.get("text_config", {}), **config}  # a model of two parts has one for each
        return {key: value for key, value in merged.items() if isinstance(value, int)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
