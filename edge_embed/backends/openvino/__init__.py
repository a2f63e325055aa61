"""OpenVINO on the CPU: ONNX graphs in standard operators, as `convert --portable` writes them."""

from __future__ import annotations

from edge_embed.backends.facts import Facts

FACTS = Facts(
    format="onnx",
    module="openvino",
    package="openvino",
    extra="openvino",
    floor="int4",
    runtime=140 << 20,
    converts=("float32", "int8"),
    portable=True,
    unasked=False,
    own_only=("int8", "int4"),
)
