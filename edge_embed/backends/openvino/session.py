"""A graph -> a model compiled for the CPU, with one output and what the call needs of its inputs."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_embed.backends.onnx.names import FLAGS, TEXT_INPUTS
from edge_embed.backends.onnx.outputs import choose_output
from edge_embed.backends.onnx.pages import drop_mapped
from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.formats.onnx import read_graph
from edge_embed.spec.model import ModelSpec

from .attention import has_bfloat16, use_bfloat16_attention
from .products import use_integer_kernels
from .runtime import openvino

VERSION = openvino.get_version().partition("-")[0]
IDS = (np.dtype(np.int64), np.dtype(np.int32))
SETTINGS = {
    "NUM_STREAMS": 1,
    "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the processor has it, and a third of the mantissa
    "ENABLE_CPU_PINNING": False,  # two processes would hold their threads to the same cores
}


@dataclass(frozen=True)
class Session:
    """A compiled model, a request to it, the types of its inputs by name, and how many words its table has."""

    model: Any
    request: Any
    inputs: dict[str, np.dtype[Any]]
    output: str
    words: int | None
    process: int

    def __del__(self) -> None:
        if self.process != os.getpid():  # to free it in a fork would wait for threads that were not copied
            for held in (self.model, self.request):
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))


def open_session(path: Path, spec: ModelSpec, threads: int) -> Session:
    """Read and compile a graph; raise CorruptModelError or UnsupportedModelError where OpenVINO cannot."""
    _check_files(path)
    core = openvino.Core()
    try:
        model = core.read_model(path)
        inputs = {port.any_name: _dtype(port, path) for port in model.inputs}
        words = _words(model)
        output = _keep_output(model, path, spec)
        if use_integer_kernels(model) and has_bfloat16(core):
            use_bfloat16_attention(model)
        compiled = core.compile_model(model, "CPU", {**SETTINGS, "INFERENCE_NUM_THREADS": threads})
        request = compiled.create_infer_request()
        request.infer({name: np.zeros((1, 1), dtype) for name, dtype in inputs.items()})
    except (RuntimeError, ValueError) as error:  # OpenVINO's own derive from the first
        raise _refusal(error, path) from error
    drop_mapped(path)  # what was packed by that call: of nano's shape 110 MB at int8 and 540 MB in float32
    return Session(compiled, request, inputs, output, words, os.getpid())


def _check_files(path: Path) -> None:
    """Refuse a graph whose header is damaged, or whose weights lie elsewhere than beside it, or not at all."""
    folder = path.parent
    for file in sorted({weight.file for weight in read_graph(path).weights.values() if weight.file}):
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise CorruptModelError(f"{path} names {file!r:.200} for its weights, which is not in its own folder")
        if not (folder / file).is_file():
            raise CorruptModelError(f"{path} has its weights in {file!r:.200}, which is not in {folder}: copy it there")


def _dtype(port: Any, path: Path) -> np.dtype[Any]:
    """Return the type in which an input is fed; raise UnsupportedModelError for another input or type than is known."""
    name = port.any_name
    if name not in TEXT_INPUTS:
        raise UnsupportedModelError(
            f"{path}: the graph's input {name!r:.200} is not known; known are {listing(TEXT_INPUTS)}"
        )
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 2 or any(size.is_static for size in shape):
        raise UnsupportedModelError(f"{path}: input {name!r} has the size {shape}; export with dynamic axes")
    dtype: np.dtype[Any] = np.dtype(port.get_element_type().to_dtype())
    if dtype not in IDS and (name not in FLAGS or dtype.kind not in "biuf"):
        raise UnsupportedModelError(f"{path}: the graph takes {name!r} as {dtype}; it can be fed as {listing(IDS)}")
    return dtype


def _keep_output(model: Any, path: Path, spec: ModelSpec) -> str:
    """Choose the output to compute, and take the others out of the graph."""
    results = {name: result for result in model.get_results() for name in result.output(0).names}
    chosen = choose_output(list(results), path, spec)
    for result in model.get_results():
        if chosen not in result.output(0).names:
            model.remove_result(result)
    return chosen


def _words(model: Any) -> int | None:
    """Return how many rows the table of token ids has: beyond it OpenVINO reads zeros, and says nothing."""
    sizes = []
    for node in model.get_ops():
        if node.get_type_name() != "Gather":
            continue
        ids = node.input_value(1).get_node()
        while ids.get_type_name() == "Convert":
            ids = ids.input_value(0).get_node()
        table = node.input_value(0).get_partial_shape()
        if ids.get_type_name() == "Parameter" and ids.get_friendly_name() == TEXT_INPUTS[0] and table.is_static:
            sizes.append(table[0].get_length())
    return min(sizes, default=None)


def _refusal(error: Exception, path: Path) -> CorruptModelError | UnsupportedModelError:
    """Return the error to raise where a graph does not open: damaged, or with operators that OpenVINO does not know."""
    why = f"OpenVINO {VERSION} cannot load {path}: {' '.join(str(error).split())[:600]}"
    if "OpConversionFailure" in why:
        return UnsupportedModelError(f"{why}. It reads standard operators: edge-embed convert --portable writes them")
    return CorruptModelError(why)
