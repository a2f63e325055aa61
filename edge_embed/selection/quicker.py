"""What would run the same weights faster on this machine than what was loaded."""

from __future__ import annotations

from edge_embed.architectures import names
from edge_embed.device.cpu import VNNI

# ONNX int8 over llama.cpp, texts in bulk at v5-text-nano's shape, on a processor with VNNI: 2.7 for Q8_0 and 4.2 for
# Q4_K_M; single texts gain less.
GAIN = "2.7 (Q8_0) to 4.2 (Q4_K_M) times as fast in bulk"
COMMAND = "python -m benchmarks speed.gguf FILE.gguf --onnx"


def quicker(backend: str, architecture: str, features: frozenset[str]) -> str | None:
    """Say how to have weights that llama.cpp runs on a processor where ONNX int8 is faster; None where nothing is.

    >>> print(quicker("gguf", "eurobert", frozenset({"avx_vnni"})))
    as ONNX int8 2.7 (Q8_0) to 4.2 (Q4_K_M) times as fast in bulk on such processors: backend="fastest" converts it, \
    once, and measures both (python -m benchmarks speed.gguf FILE.gguf --onnx)
    """
    if backend != "gguf" or not features & VNNI or architecture not in names():
        return None
    return f'as ONNX int8 {GAIN} on such processors: backend="fastest" converts it, once, and measures both ({COMMAND})'
