"""The same graph in ONNX's standard operators, for engines that know no others, on the data file of the fused one.

An architecture's file is not told: where it adds an operator of ONNX Runtime's own, what stands in its place is taken
from standard.py. Two things differ, and are asked of the builder: attention masks padding, where the fused kernel cuts
each text to its length, and tokens have a type where the original model has several.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_embed.backends.onnx.names import TEXT_INPUTS

from .builder import MICROSOFT, Builder
from .standard import OPERATORS

KEPT = ("MatMulNBits",)


class PortableBuilder(Builder):
    """Collect a graph whose weights lie, where they are the same, in the places that `written` ones have."""

    fused = False
    # What onnxruntime 1.14, transformers.js 3 and OpenVINO 2024 read.
    opsets: Mapping[str, int] = MappingProxyType({"": 18})
    ir_version = 8

    def __init__(self, level: str, data: BinaryIO, data_name: str, written: Mapping[str, TensorProto]) -> None:
        super().__init__(level, data, data_name)
        self._written = written

    def nodes(self, op: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node, or the nodes that stand for it."""
        if op in OPERATORS:
            return [OPERATORS[op](self, *inputs, **attributes)]
        if domain == MICROSOFT:
            if op not in KEPT:
                raise NotImplementedError(f"{op} has no form in standard operators: add it to convert/onnx/standard.py")
            self.opsets = {**self.opsets, MICROSOFT: 1}
        return super().nodes(op, *inputs, outputs=outputs, domain=domain, **attributes)

    def token_types(self, x: str, kinds: NDArray[np.float32]) -> str:
        """Add each token's type, which becomes an input where there are several."""
        if len(kinds) == 1:
            return x
        name = TEXT_INPUTS[2]
        self._more_inputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]))
        return self.node("Add", x, self.node("Gather", self.weight("embeddings.type.more", kinds - kinds[0]), name))

    def _put(self, name: str, array: NDArray[Any]) -> int:
        """Return where the array lies in the data file already, or write it."""
        if name in self._written:
            place = {entry.key: entry.value for entry in self._written[name].external_data}
            if int(place.get("length", -1)) == array.nbytes:
                self._data.seek(int(place["offset"]))
                if self._data.read(array.nbytes) == array.tobytes():
                    return int(place["offset"])
        return super()._put(name, array)
