"""Nodes and weights of one ONNX graph.

Weights go to the external data file as they come, so memory holds one tensor at a time. Operators were chosen by
measurement on ONNX Runtime 1.31 (CPU): Add + LayerNormalization took a tenth of SkipLayerNormalization's time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_embed.backends.onnx.names import ALL_ROWS, FEATURES, ONE_ROW, PIXELS, POOLED, TEXT_INPUTS

PAGE = 4096  # ONNX Runtime maps external data from the file
Made = TypeVar("Made")
MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators
INLINE = 1024  # bytes; smaller constants stay in the graph


class Builder:
    """Collect one graph at one level; `data` is the open external data file named `data_name`."""

    fused = True  # whether ONNX Runtime's own operators may be used; see portable.py
    opsets: Mapping[str, int] = MappingProxyType({"": 21, MICROSOFT: 1})
    ir_version = 10

    def __init__(self, level: str, data: BinaryIO, data_name: str) -> None:
        self.level = level
        self._data, self._data_name = data, data_name
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}
        self._more_inputs: list[onnx.ValueInfoProto] = []
        self._more_outputs: list[onnx.ValueInfoProto] = []
        self._made: dict[Hashable, Any] = {}
        self.linears: list[tuple[str, str]] = []  # name of each linear layer, and what it reads

    @property
    def weights(self) -> Mapping[str, TensorProto]:
        """What was added by `weight` and `constant`, by name."""
        return self._initializers

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return its name; an empty input name is one left out."""
        return self.nodes(op, *inputs, outputs=1, domain=domain, **attributes)[0]

    def nodes(self, op: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node with several outputs and return their names."""
        names = [f"{op}_{len(self._nodes)}_{n}" for n in range(outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), names, domain=domain, **attributes))
        return names

    def constant(self, value: Any, dtype: Any) -> str:
        """Add a small constant, once for each value, and return its name."""
        array = np.asarray(value, dtype)
        name = f"constant_{array.dtype}_{array.shape}_{array.tobytes().hex()}"
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(array, name)
        return name

    def weight(self, name: str, array: NDArray[Any]) -> str:
        """Write an array to the data file (into the graph when it is tiny) and return its name."""
        array = np.ascontiguousarray(array)
        if array.nbytes < INLINE:
            self._initializers[name] = numpy_helper.from_array(array, name)
            return name
        tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": self._data_name, "offset": self._put(name, array), "length": array.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self._initializers[name] = tensor
        return name

    def _put(self, name: str, array: NDArray[Any]) -> int:
        """Write an array to the end of the data file -> where it begins."""
        self._data.seek(0, os.SEEK_END)
        self._data.write(b"\0" * (-self._data.tell() % PAGE))
        start = self._data.tell()
        self._data.write(array.data)
        return start

    def optional_input(self, name: str, dtype: Any, width: int) -> str:
        """Add an input (rows, width) that has no row where it is not fed; its name comes back."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._more_inputs.append(helper.make_tensor_value_info(name, kind, [name, width]))
        self._initializers[name] = numpy_helper.from_array(np.zeros((0, width), dtype), name)
        return name

    def output(self, value: str, name: str, shape: list[int | str | None]) -> None:
        """Give out one more float32 value, under the name."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._more_outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def cached(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what `make` added for this key; it is called the first time only."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def rms_norm(self, x: str, name: str, weight: NDArray[Any], epsilon: float) -> str:
        """Divide by the root mean square of the last axis (Zhang & Sennrich 2019, arXiv 1910.07467)."""
        return self.node("SimplifiedLayerNormalization", x, self.weight(f"{name}.weight", weight), epsilon=epsilon)

    def layer_norm(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any] | None, epsilon: float) -> str:
        """Normalise the last axis."""
        scale = self.weight(f"{name}.weight", weight)
        shift = [] if bias is None else [self.weight(f"{name}.bias", bias)]
        return self.node("LayerNormalization", x, scale, *shift, epsilon=epsilon)

    def token_types(self, x: str, kinds: NDArray[np.float32]) -> str:
        """Add to x, whose tokens are of the first type, what their own types (types, dim) differ by: here, nothing."""
        return x

    def tap_linears(self) -> None:
        """Give out what flows into each linear layer: squares summed over tokens, largest magnitude, sizes."""
        axes = self.constant([0, 1], np.int64)
        for x in sorted({x for _, x in self.linears}):
            reductions = [("sum", "ReduceSumSquare", x), ("peak", "ReduceMax", self.node("Abs", x))]
            for part, op, source in reductions:
                self._nodes.append(helper.make_node(op, [source, axes], [f"{x}.{part}"], keepdims=0))
                self._more_outputs.append(helper.make_tensor_value_info(f"{x}.{part}", TensorProto.FLOAT, None))
            self._nodes.append(helper.make_node("Shape", [x], [f"{x}.rows"], end=-1))
            self._more_outputs.append(helper.make_tensor_value_info(f"{x}.rows", TensorProto.INT64, None))

    def _outputs_of_others(self, row: str, dim: int) -> list[onnx.ValueInfoProto]:
        """Give out each text's one row as its vector, and in the place of every token.

        There optimum, transformers.js and fastembed pool: whatever row they take, it is the one.
        """
        tokens = self.node("Shape", "input_ids", start=1, end=2)
        one = self.constant([1], np.int64)
        rows = self.node("Expand", self.node("Unsqueeze", row, one), self.node("Concat", one, tokens, one, axis=0))
        named: list[tuple[str, str, list[str | int]]] = [
            (ALL_ROWS, rows, ["batch", "tokens", dim]),
            (POOLED[0], row, ["batch", dim]),
        ]
        self._nodes += [helper.make_node("Identity", [value], [name]) for name, value, _ in named]
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, _, shape in named]

    def finish(self, output: str, output_name: str, dim: int, pixels: tuple[int, int] | None = None) -> onnx.ModelProto:
        """Return the model: `input_ids` and `attention_mask`, int64 (batch, tokens) -> ALL_ROWS or ONE_ROW, float32.

        Beside ONE_ROW stand the outputs that other readers look for: see `_outputs_of_others`.

        With `pixels` (height, width) it is `pixel_values`, float32 (batch, 3, height, width) -> IMAGE_ROW or
        FEATURES.
        """
        rows = {ALL_ROWS: ["tokens"], FEATURES: ["patches"]}.get(output_name, [])
        shape: list[str | int | None] = ["batch", *rows, dim]
        self._nodes.append(helper.make_node("Identity", [output], [output_name]))
        if pixels:
            inputs = [helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, ["batch", 3, *pixels])]
        else:
            inputs = [
                helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in TEXT_INPUTS[:2]
            ]
        inputs += self._more_inputs
        outputs = [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, shape), *self._more_outputs]
        if output_name == ONE_ROW:
            outputs = [*self._outputs_of_others(output, dim), *outputs]
        graph = helper.make_graph(self._nodes, "edge_embed", inputs, outputs, list(self._initializers.values()))
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=self.ir_version, producer_name="edge_embed")
