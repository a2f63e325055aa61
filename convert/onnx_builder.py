"""Nodes and weights of one ONNX graph. What a quantisation level means for a linear layer or a table is said here.

Weights go to the external data file as they come, so memory holds one tensor at a time. Operators were chosen by
measurement on ONNX Runtime 1.31 (CPU): Add + LayerNormalization took a tenth of SkipLayerNormalization's time.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators
PAGE = 4096  # ONNX Runtime maps external data from the file
LEVELS = ("float32", "int8")
INLINE = 1024  # bytes; smaller constants stay in the graph


class Builder:
    """Collect one graph at one level; `data` is the open external data file named `data_name`."""

    def __init__(self, level: str, data: BinaryIO, data_name: str) -> None:
        self.level = level
        self._data, self._data_name = data, data_name
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}
        self._quantized: dict[str, tuple[str, str]] = {}

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return its name; an empty input name is one left out."""
        return self.split(op, *inputs, outputs=1, domain=domain, **attributes)[0]

    def split(self, op: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
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
        self._data.write(b"\0" * (-self._data.tell() % PAGE))
        tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": self._data_name, "offset": self._data.tell(), "length": array.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self._data.write(array.data)
        self._initializers[name] = tensor
        return name

    def linear(self, x: str, name: str, weight: NDArray[np.float32]) -> str:
        """Multiply x (..., in) by a checkpoint's weight (out, in) -> (..., out), without bias.

        int8: weights with one scale for each output channel, activations with one for each token, so that no token's
        numbers depend on another's. Dividing a row by its largest magnitude and quantising with one constant scale is
        several times faster than blocked QuantizeLinear, and unsigned activations than signed ones.
        """
        if self.level == "float32":
            return self.node("MatMul", x, self.weight(name, weight.T))
        scale = np.abs(weight).max(axis=1) / 127
        scale[scale == 0] = 1
        codes = np.rint(weight / scale[:, None]).astype(np.int8)
        quantized, peak = self._quantize_rows(x)
        step, zero = self.constant(1 / 127, np.float32), self.constant(128, np.uint8)
        weights = self.weight(name, codes.T), step, self.weight(f"{name}.scale", scale.astype(np.float32)), zero
        return self.node("Mul", self.node("MatMulIntegerToFloat", quantized, *weights, domain=MICROSOFT), peak)

    def _quantize_rows(self, x: str) -> tuple[str, str]:
        """Return x as uint8 around 128, and each row's largest magnitude (..., 1); once for all who read x."""
        if x not in self._quantized:
            largest = self.node("ReduceMax", self.node("Abs", x), self.constant([-1], np.int64), keepdims=1)
            peak = self.node("Max", largest, self.constant(1e-30, np.float32))
            unit = self.node("Div", x, peak)
            codes = self.node("QuantizeLinear", unit, self.constant(1 / 127, np.float32), self.constant(128, np.uint8))
            self._quantized[x] = codes, peak
        return self._quantized[x]

    def table(self, ids: str, name: str, table: NDArray[np.float32]) -> str:
        """Look up rows of an embedding table (vocabulary, dim); int8 stores one scale for each row."""
        if self.level == "float32":
            return self.node("Gather", self.weight(name, table), ids)
        scale = np.abs(table).max(axis=1, keepdims=True) / 127
        scale[scale == 0] = 1
        codes = self.node("Gather", self.weight(name, np.rint(table / scale).astype(np.int8)), ids)
        scales = self.node("Gather", self.weight(f"{name}.scale", scale.astype(np.float32)), ids)
        return self.node("Mul", self.node("Cast", codes, to=TensorProto.FLOAT), scales)

    def layer_norm(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any], epsilon: float) -> str:
        """Normalise the last axis."""
        scale, shift = self.weight(f"{name}.weight", weight), self.weight(f"{name}.bias", bias)
        return self.node("LayerNormalization", x, scale, shift, epsilon=epsilon)

    def finish(self, output: str, output_name: str, shape: list[str | int]) -> onnx.ModelProto:
        """Return the model: `input_ids` and `attention_mask`, int64 (batch, tokens) -> one float32 output."""
        self._nodes.append(helper.make_node("Identity", [output], [output_name]))
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        outputs = [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self._nodes, "edge_embed", inputs, outputs, list(self._initializers.values()))
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="edge_embed")
