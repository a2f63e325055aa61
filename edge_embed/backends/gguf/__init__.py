"""llama.cpp, through one pinned release of llama-cpp-python."""

from __future__ import annotations

import sys

from edge_embed.backends.facts import Facts

FACTS = Facts(
    format="gguf",
    module="llama_cpp",
    package="llama-cpp-python",
    extra="gguf",
    floor="Q4_0",
    runtime=60 << 20,
    converts=("Q8_0",),
    spin="1,000 turns" if sys.platform == "linux" else None,  # see runtime.py
    # Of `vnni` F16, Q8_0, Q4_K_M and IQ4_NL were measured: python -m benchmarks speed.candidates; the rest is what is
    # known of such machines. One text alone waits for the weights to come from memory: what is small is fast.
    speeds={
        "vnni": {
            **{"F16": (0.7, 1.0), "BF16": (0.7, 1.0), "Q8_0": (0.6, 0.9), "Q6_K": (0.4, 0.9)},
            **{"Q4_K_M": (0.8, 1.4), "IQ4_NL": (0.9, 1.9), "Q4_0": (0.9, 1.9)},
        },
        "cpu": {
            **{"F16": (0.8, 1.0), "BF16": (0.5, 0.6), "Q8_0": (0.9, 1.4), "Q6_K": (0.5, 0.9)},
            **{"Q4_K_M": (0.9, 1.5), "IQ4_NL": (1.1, 1.8), "Q4_0": (1.2, 2.0)},
        },
        "apple": {
            **{"F16": (3.0, 2.0), "BF16": (3.0, 2.0), "Q8_0": (3.0, 2.5), "Q6_K": (2.5, 2.2)},
            **{"Q4_K_M": (2.5, 2.5), "IQ4_NL": (2.5, 2.5), "Q4_0": (3.0, 2.8)},
        },
    },
)

# Tokens in a call of several texts; a longer text has a call of its own. On v5-text-nano's shape, 8 x 64 tokens: plain
# attention ran 481, 451, 401 tokens a CPU second for 128, 256, 512 a call, flash attention 484; 24 x 20: 422, 478, 431,
# 496.
TOKENS_PER_CALL = 256
CHUNK = 512  # tokens of a long text that a causal model computes at once; an encoder must take all of it at once
LAST_CHUNK = 64  # tokens that are computed with outputs; flash attention sums in float32 from so many on
