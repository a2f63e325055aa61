"""The embedding table of a GGUF file: rows of it as float32, for inputs that llama.cpp is given as rows, not as ids.

A batch of llama.cpp holds ids or rows, never both; the C API has no way to its copy of the table.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.formats.gguf import parts_of, read_header

from .runtime import llama_cpp, load_shared_library

NAME = "token_embd.weight"
FLOATS: dict[str, Any] = {"f32": np.float32, "f16": np.float16}
_ggml = load_shared_library("ggml-base", Path(llama_cpp.__file__).parent / "lib")
_ggml.ggml_type_name.restype = ctypes.c_char_p
_ggml.ggml_row_size.restype, _ggml.ggml_row_size.argtypes = ctypes.c_size_t, [ctypes.c_int, ctypes.c_int64]


class Table:
    """The table of the model in a file, or of the part of a split one that has it; rows are read when asked for."""

    def __init__(self, path: Path) -> None:
        for part in parts_of(path):
            header = read_header(part)
            if NAME in header.tensors:
                break
        else:
            raise CorruptModelError(f"{path} has no {NAME}")
        tensor = header.tensors[NAME]
        if len(tensor.shape) != 2:
            raise CorruptModelError(f"{part}: {NAME} has the shape {tensor.shape}, not rows and columns")
        self._width, self._kind = int(tensor.shape[0]), _ggml.ggml_type_name(tensor.type).decode()
        self._dequantize = getattr(_ggml, f"dequantize_row_{self._kind}", None)
        if self._dequantize is None and self._kind not in (*FLOATS, "bf16"):
            raise UnsupportedModelError(f"{part}: {NAME} is {self._kind}, whose rows cannot be read here")
        size = int(_ggml.ggml_row_size(tensor.type, self._width))
        start = header.data + tensor.offset
        try:
            self._rows = np.memmap(part, np.uint8, "r", start, (int(tensor.shape[1]), size))
        except ValueError as error:
            raise CorruptModelError(f"{part} ends within {NAME}: fetch it again") from error

    def __call__(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the rows (n, dim) of ids (n,), all below the size of the vocabulary."""
        found = np.ascontiguousarray(self._rows[ids])
        if self._kind in FLOATS:
            exact: NDArray[np.float32] = found.view(FLOATS[self._kind]).astype(np.float32, copy=False)
            return exact
        if self._kind == "bf16":
            return (found.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        out = np.empty((len(ids), self._width), np.float32)
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (found, out))
        assert self._dequantize is not None
        self._dequantize(*pointers, ctypes.c_int64(out.size))
        return out
