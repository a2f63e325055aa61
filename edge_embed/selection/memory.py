"""How much memory a model will take, from the headers of its files: no weight is read."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass

from edge_embed.backends.facts import facts, running
from edge_embed.backends.footprint import Footprint, Model
from edge_embed.backends.onnx.footprint import BYTES_PER_WEIGHT, converted_footprint
from edge_embed.errors import InputError
from edge_embed.formats.json_file import read_object
from edge_embed.layouts.folder import ModelFolder
from edge_embed.spec.weights import Format, Weights, image_part

from .image_memory import ImageTower, max_image_rows, read_tower

MIN_BATCH_TOKENS = 16  # a batch that a budget may shrink to
UNITS = {"": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
TOKENIZER_COPIES, TOKENIZER_CODE = 9, 7 << 20  # times the size of tokenizer.json (10 MB take 90), and its code
CONVERTED: Format = (
    "onnx"  # the format that a checkpoint's plan is made for: what others take is known when they are made
)


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What one candidate, `format:level`, will take at its peak, in bytes; `output` is the engine's own buffer.

    `image` is what the image part takes beside the text part, where the model has one.
    """

    candidate: str
    weights: int
    kv: int = 0
    compute: int = 0
    output: int = 0
    image: int = 0
    tokenizer: int = 0
    runtime: int = 0

    @property
    def total(self) -> int:
        """The resident peak."""
        parts = (self.weights, self.kv, self.compute, self.output, self.image, self.tokenizer, self.runtime)
        return sum(parts)


def memory_plans(model: ModelFolder, max_tokens: int | None, batch_tokens: int) -> list[MemoryPlan]:
    """Predict the peak of every candidate for texts of up to `max_tokens` (None: the model's own limit) tokens.

    Candidates are the weights of the folder; of a checkpoint alone, the ONNX levels that it can be converted to. A
    batch holds `batch_tokens`, or one text, or one image's rows, if that is longer. Raises CorruptModelError for a
    damaged header.
    """
    texts = [weights for weights in model.spec.weights if weights.part == "text"]
    found = [memory_plan(model, weights, max_tokens, batch_tokens) for weights in texts]
    if not found and model.checkpoint is not None:
        longest = _longest(model, max_tokens)
        files = [name for name in model.checkpoint_files if name.lower().endswith((".safetensors", ".gguf"))]
        for level in BYTES_PER_WEIGHT:
            text = converted_footprint(_described(model), files, level, max(longest, batch_tokens))
            found.append(_plan(model, f"{CONVERTED}:{level}", CONVERTED, text))
    return found


def memory_plan(
    model: ModelFolder, weights: Weights, max_tokens: int | None, batch_tokens: int, backend: str | None = None
) -> MemoryPlan:
    """Predict the peak with one text part and the image part that goes with it; see `memory_plans`.

    `backend` None is the one that runs the format here.
    """
    backend = backend or running(weights.format)[0]
    longest = _longest(model, max_tokens)
    part = image_part(model.spec.weights, weights)
    tower = read_tower(model, part) if part and model.spec.image else None
    if tower:
        longest = max(longest, min(max_image_rows(model.spec, tower.patch), model.spec.max_tokens))
    module = importlib.import_module(f"edge_embed.backends.{backend}.footprint")
    text: Footprint = module.footprint(_described(model), weights, max(longest, batch_tokens), longest)
    image = _image(tower, model, text.compute, apart=part.files != weights.files) if tower and part else 0
    return _plan(model, weights.name, backend, text, image)


def size_in_bytes(size: int | str) -> int:
    """Read a size: bytes, or a text such as "512MB" or "2GB", in powers of 1,024; raise InputError for another text."""
    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)\s*(|KB|MB|GB)", str(size).strip(), re.I)
    if found is None:
        raise InputError(f"{size!r} is not a size: give bytes, or a text such as '512MB' or '2GB'")
    return int(float(found[1]) * UNITS[found[2].upper()])


def _plan(model: ModelFolder, candidate: str, backend: str, text: Footprint, image: int = 0) -> MemoryPlan:
    size = model.files.sizes.get(model.words)
    tokenizer = TOKENIZER_COPIES * size + TOKENIZER_CODE if size is not None else 0
    runtime = facts(backend).runtime
    return MemoryPlan(candidate=candidate, image=image, tokenizer=tokenizer, runtime=runtime, **vars(text))


def _image(tower: ImageTower, model: ModelFolder, text: int, apart: bool) -> int:
    """Return what an image part adds: its weights, unless they lie in the text part's file, and what it computes with.

    Where a language model reads its rows, the tower's memory is given back before that begins.
    """
    compute = tower.compute(model.spec)
    return (tower.weights if apart else 0) + (max(0, compute - text) if model.spec.image_token else compute)


def _longest(model: ModelFolder, max_tokens: int | None) -> int:
    return min(max_tokens or model.spec.max_tokens, model.spec.max_tokens)


def _described(model: ModelFolder) -> Model:
    config = read_object(model.folder / "config.json", {}) if "config.json" in model.files else {}
    return Model(header=model.files.header, config=config, spec=model.spec)
