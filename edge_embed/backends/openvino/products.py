"""Our int8 products, in a form of which OpenVINO makes integer kernels.

The graph has QuantizeLinear, MatMulInteger and the steps of both sides after it. OpenVINO reads that as operations on
int32 and computes them in float32, twice as slowly as it computes float32 weights. Written as its own tools write
quantised models, a FakeQuantize of the rows and weights behind their scales, the same numbers come out of int8 kernels.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .rewriting import ops, replace
from .runtime import openvino


def use_integer_kernels(model: Any) -> int:
    """Rewrite the products that have the form of `convert/onnx/levels.py` in place, and return how many there were."""
    products = [found for node in model.get_ordered_ops() if (found := _product(node))]
    for old, new in products:
        replace(old, new)
    if products:
        model.validate_nodes_and_infer_types()
    return len(products)


def _product(scaled: Any) -> tuple[Any, Any] | None:
    """Return a product times its steps, and what computes the same; None for a node that is none.

    Multiply(Convert(MatMul(rows - zero, weights - 0)), steps), of which the rows are Convert(Convert(FakeQuantize)).
    """
    whole = _follow(scaled, 0, "Multiply", "Convert", "MatMul")
    left, right = (_follow(whole, at, "MatMul", "Subtract") for at in (0, 1))
    quantized = _follow(left, 0, "Subtract", "Convert", "Convert", "FakeQuantize")
    weights = _follow(right, 0, "Subtract", "Convert", "Constant")
    if quantized is None or weights is None or weights.get_element_type() != openvino.Type.i8:
        return None
    steps = scaled.input_value(1).get_partial_shape()
    if len(weights.shape) != 2 or steps.is_dynamic or len(steps) > 1:
        return None
    zero, none, low, high = _number(left, 1), _number(right, 1), _number(quantized, 3), _number(quantized, 4)
    if zero is None or low is None or high is None or none != 0:
        return None
    ends = (ops.constant(np.float32(end - zero)) for end in (low, high))
    before = (quantized.input_value(n) for n in range(3))
    signed = ops.fake_quantize(*before, *ends, quantized.get_attributes()["levels"])
    scales = ops.multiply(ops.convert(weights, "f32"), scaled.input_value(1))
    return scaled, ops.matmul(signed, scales, False, False)


def _follow(node: Any, at: int, *types: str) -> Any:
    """Go from a node of the first type to its input `at`, and on to first inputs, as long as their types are these."""
    for here, there in itertools.pairwise(types):
        if node is None or node.get_type_name() != here:
            return None
        node, at = node.input_value(at).get_node(), 0
        if node.get_type_name() != there:
            return None
    return node


def _number(node: Any, at: int) -> float | None:
    """Return the one value of a constant input, whatever it was converted to; None for another."""
    node = node.input_value(at).get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return float(node.data.reshape(())) if node.get_type_name() == "Constant" and node.data.size == 1 else None
