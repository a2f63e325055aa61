"""What would run the same weights faster on this machine than what was loaded."""

from __future__ import annotations

from edge_embed.architectures import names
from edge_embed.device.cpu import VNNI

# ONNX int8 over llama.cpp, texts in bulk at v5-text-nano's shape, on a processor with VNNI: 2.7 for Q8_0 and 4.2 for
# Q4_K_M (python -m benchmarks speed.gguf nano-Q8_0.gguf nano-Q4_K_M.gguf --onnx); single texts gain less.
GAIN = "2 to 4 times as fast in bulk"


def quicker(backend: str, architecture: str, features: frozenset[str]) -> str | None:
    """Say how to have weights that llama.cpp runs on a processor where ONNX int8 is faster; None where nothing is.

    >>> print(quicker("gguf", "eurobert", frozenset({"avx_vnni"})))
    as ONNX int8 2 to 4 times as fast in bulk on this processor: backend="onnx" converts it, once
    """
    if backend != "gguf" or not features & VNNI or architecture not in names():
        return None
    return f'as ONNX int8 {GAIN} on this processor: backend="onnx" converts it, once'
