"""Attention in bfloat16, where the processor multiplies that: half the time of long texts lies there.

Queries, keys, values and weights of attention are rounded to 8 bits of mantissa, sums are kept in float32. Only beside
int8 products, whose own rounding is a hundred times that: the cosine to float32 stays as it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .rewriting import ops, replace

BFLOAT16 = "BF16"
LOWEST = np.float32(-1e30)  # a mask's float32 minimum would be rounded to minus infinity, and a row of that to NaN


def has_bfloat16(core: Any) -> bool:
    """Whether the processor has products of bfloat16 (AVX-512 BF16, AMX, Arm's BF16), as OpenVINO says."""
    return BFLOAT16 in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def use_bfloat16_attention(model: Any) -> int:
    """Rewrite softmax(queries keys + masks) values in place, and return how many there were."""
    found = 0
    for softmax in model.get_ordered_ops():
        if softmax.get_type_name() != "Softmax":
            continue
        whole = _only_reader(softmax)
        scores, masks = _scores(softmax)
        if whole is None or scores is None:
            continue
        replace(whole, _attention(scores, masks, whole.input_value(1)))
        found += 1
    if found:
        model.validate_nodes_and_infer_types()
    return found


def _only_reader(softmax: Any) -> Any:
    """Return the product that reads the weights, if nothing else does."""
    readers = [reader.get_node() for reader in softmax.output(0).get_target_inputs()]
    return readers[0] if len(readers) == 1 and _is_product(readers[0]) else None


def _scores(softmax: Any) -> tuple[Any, list[Any]]:
    """Follow additions from the softmax back to a product -> it, or None, and the masks that are added to it."""
    node, masks = softmax.input_value(0).get_node(), []
    while node.get_type_name() == "Add":
        masks.append(node.input_value(1))
        node = node.input_value(0).get_node()
    return (node if _is_product(node) else None), masks


def _is_product(node: Any) -> bool:
    """Whether a node is a product of two activations, neither transposed."""
    attributes = node.get_attributes() if node.get_type_name() == "MatMul" else {}
    return attributes.get("transpose_a") is False and attributes.get("transpose_b") is False


def _attention(scores: Any, masks: list[Any], values: Any) -> Any:
    queries, keys = (_bfloat16(scores.input_value(n)) for n in range(2))
    sums = ops.matmul(queries, keys, False, False)
    for mask in reversed(masks):
        sums = ops.add(sums, _bfloat16(ops.maximum(mask, ops.constant(LOWEST))))
    return ops.convert(ops.matmul(ops.softmax(sums, -1), _bfloat16(values), False, False), "f32")


def _bfloat16(value: Any) -> Any:
    return ops.convert(value, "bf16")
