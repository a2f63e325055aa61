"""Multiplies on Intel's matrix unit (AMX) as llama.cpp does, and ends with 0 only where the numbers are right.

    python -I amx_trial.py FOLDER_OF_LLAMA_CPP'S_LIBRARIES

A script of its own, since what it tries may kill the process; the standard library is all that it imports, so that it
takes a tenth of a second. The calls are those of ggml.h and ggml-backend.h at the pinned release.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SIZE, TEXTS = 64, 32  # of the matrix, and rows that it is multiplied with
BLOCK = 32  # weights of Q8_0 that share a scale
F32, Q8_0 = 0, 8  # ggml_type
ROOM = 1 << 22  # bytes for everything
POINTER, INT64, SIZE_T = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t


class _Params(ctypes.Structure):
    """ggml_init_params."""

    _fields_ = (("mem_size", SIZE_T), ("mem_buffer", POINTER), ("no_alloc", ctypes.c_bool))


FUNCTIONS: dict[str, tuple[object, tuple[object, ...]]] = {  # result, arguments
    "ggml_init": (POINTER, (_Params,)),
    "ggml_new_tensor_2d": (POINTER, (POINTER, ctypes.c_int, INT64, INT64)),
    "ggml_mul_mat": (POINTER, (POINTER, POINTER, POINTER)),
    "ggml_new_graph": (POINTER, (POINTER,)),
    "ggml_build_forward_expand": (None, (POINTER, POINTER)),
    "ggml_get_data": (POINTER, (POINTER,)),
    "ggml_backend_reg_dev_get": (POINTER, (POINTER, SIZE_T)),
    "ggml_backend_reg_get_proc_address": (POINTER, (POINTER, ctypes.c_char_p)),
    "ggml_backend_buft_name": (ctypes.c_char_p, (POINTER,)),
    "ggml_backend_alloc_ctx_tensors_from_buft": (POINTER, (POINTER, POINTER)),
    "ggml_backend_tensor_set": (None, (POINTER, ctypes.c_char_p, SIZE_T, SIZE_T)),
    "ggml_backend_cpu_reg": (POINTER, ()),
    "ggml_graph_compute_with_ctx": (ctypes.c_int, (POINTER, POINTER, ctypes.c_int)),
}


def ggml(folder: Path) -> Any:
    """Return the functions above, of the libraries in a folder."""
    libraries = [ctypes.CDLL(str(folder / name)) for name in ("libggml-base.so", "libggml-cpu.so")]
    found = SimpleNamespace()
    for name, (result, arguments) in FUNCTIONS.items():
        function = next(getattr(library, name) for library in libraries if hasattr(library, name))
        function.restype, function.argtypes = result, arguments
        setattr(found, name.removeprefix("ggml_"), function)
    return found


def matrix_unit(lib: Any) -> int | None:
    """Return the kind of memory whose matrices the unit multiplies; None where this build, or machine, has none."""
    registry = lib.backend_cpu_reg()
    address = lib.backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
    kinds = ctypes.CFUNCTYPE(ctypes.POINTER(POINTER), POINTER)(address)(lib.backend_reg_dev_get(registry, 0))
    number = 0
    while kind := kinds[number]:  # the last is null
        if lib.backend_buft_name(kind) == b"AMX":
            return int(kind)
        number += 1
    return None


def product(lib: Any, kind: int, values: Sequence[int]) -> list[float]:
    """Multiply the matrix whose row n holds values[n] with ones; the first sums."""
    held = lib.init(_Params(ROOM, None, True))
    weights = lib.new_tensor_2d(held, Q8_0, SIZE, SIZE)
    lib.backend_alloc_ctx_tensors_from_buft(held, kind)
    data = b"".join(struct.pack(f"<e{BLOCK}b", 1.0, *[value] * BLOCK) * (SIZE // BLOCK) for value in values)
    lib.backend_tensor_set(weights, data, 0, len(data))
    context = lib.init(_Params(ROOM, None, False))
    ones = lib.new_tensor_2d(context, F32, SIZE, TEXTS)
    (ctypes.c_float * (SIZE * TEXTS)).from_address(lib.get_data(ones))[:] = [1.0] * (SIZE * TEXTS)
    result = lib.mul_mat(context, weights, ones)
    graph = lib.new_graph(context)
    lib.build_forward_expand(graph, result)
    lib.graph_compute_with_ctx(context, graph, 1)
    return list((ctypes.c_float * (SIZE * TEXTS)).from_address(lib.get_data(result)))


def main(folder: Path) -> int:
    """Return 0 where products are right, or this build makes them without the unit."""
    lib = ggml(folder)
    kind = matrix_unit(lib)
    if kind is None:
        return 0
    values = [row % 7 - 3 for row in range(SIZE)]
    found = product(lib, kind, values)
    return int(any(abs(one - SIZE * value) > 1 for one, value in zip(found, values * TEXTS, strict=True)))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
