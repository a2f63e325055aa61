"""What this machine computes and moves at most: one large product in a type, or copies of memory; prints a JSON line.

python -m benchmarks.engines.peers.limits torch|int8|memory THREADS
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

SIDE = 1024  # of the square matrices
SECONDS = 1.0  # for one measurement
COPIED = 1 << 27  # bytes of each thread's copy, beyond any cache


def best(call: Callable[[], object], amount: float) -> float:
    """Return thousand millions a second of the best call within a second, the first left out."""
    call()
    least, end = float("inf"), time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        call()
        least = min(least, time.perf_counter() - start)
    return amount / least / 1e9


def torch(threads: int) -> dict[str, float]:
    """Multiply in float32 and bfloat16 with PyTorch."""
    import torch

    torch.set_num_threads(threads)
    found = {}
    for name in ("float32", "bfloat16"):
        left, right = (torch.randn(SIDE, SIDE).to(getattr(torch, name)) for _ in range(2))
        found[name] = best(lambda left=left, right=right: left @ right, 2 * SIDE**3)  # type: ignore[misc]
    return found


def int8(threads: int) -> dict[str, float]:
    """Multiply in int8 with ONNX Runtime, which our graphs run in; the weights are packed once."""
    from onnx import TensorProto, helper, numpy_helper

    from edge_embed.backends.onnx.runtime import ort

    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.integers(-127, 128, (SIDE, SIDE)).astype(np.int8), "w")
    shape = [SIDE, SIDE]
    ins = [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)]
    outs = [helper.make_tensor_value_info("y", TensorProto.INT32, shape)]
    product = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    graph = helper.make_graph([product], "product", ins, outs, [weights])
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    return {"int8": best(lambda: session.run(None, {"x": values}), 2 * SIDE**3)}


def memory(threads: int) -> dict[str, float]:
    """Copy memory in threads: bytes read and bytes written count."""
    pairs = [(np.ones(COPIED, np.uint8), np.ones(COPIED, np.uint8)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        return {"memory": best(lambda: list(pool.map(lambda pair: np.copyto(*pair), pairs)), 2 * COPIED * threads)}


if __name__ == "__main__":
    print(json.dumps({"torch": torch, "int8": int8, "memory": memory}[sys.argv[1]](int(sys.argv[2]))))
