"""ONNX Runtime: the engine of the base install, on any processor."""

from __future__ import annotations

from edge_embed.backends.facts import Facts

FACTS = Facts(
    format="onnx",
    module="onnxruntime",
    package="onnxruntime",
    extra=None,
    floor="int4",
    runtime=72 << 20,
    converts=("float32", "int8"),
    own_only=("int8", "int4"),
    spin="50 us",
    # On `vnni` measured: python -m benchmarks speed.candidates; elsewhere what is known of such machines.
    speeds={
        "vnni": {"float32": (1.0, 1.0), "float16": (1.0, 1.0), "int8": (2.4, 2.2), "int4": (1.0, 1.7)},
        "cpu": {"float32": (1.0, 1.0), "float16": (1.0, 1.0), "int8": (1.5, 1.7), "int4": (1.0, 1.7)},
        "apple": {"float32": (1.0, 1.0), "float16": (1.0, 1.0), "int8": (1.5, 1.7), "int4": (1.0, 1.7)},
    },
)
