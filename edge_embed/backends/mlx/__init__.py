"""MLX: Apple GPUs, and the CPU elsewhere."""

from __future__ import annotations

from edge_embed.backends.facts import Facts

FACTS = Facts(
    format="mlx",
    module="mlx",
    package="mlx",
    extra="mlx",
    floor="4bit",
    runtime=62 << 20,
    converts=("float32",),
    reads_checkpoints=True,
    speeds={
        "vnni": {"float32": (0.3, 0.3), "bfloat16": (0.3, 0.3)},
        "cpu": {"float32": (0.3, 0.3), "bfloat16": (0.3, 0.3)},
        "apple": {
            **{"float32": (2.0, 1.5), "bfloat16": (4.0, 2.5), "float16": (4.0, 2.5)},
            **{"8bit": (4.0, 3.0), "4bit": (4.0, 3.5)},
        },
    },
)
