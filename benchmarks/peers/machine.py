"""What this machine can do at most, how it is set while the benchmark runs, and what share of it a speed is."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.sensors import celsius, megahertz
from benchmarks.worker import ROOT

from .models import E5, MINILM

NANO = "nano"
# Weights of the layers, each of which is multiplied and added once a token: layers x (attention + MLP).
WEIGHTS = {
    MINILM: 6 * (4 * 384**2 + 2 * 384 * 1536),
    E5: 12 * (4 * 384**2 + 2 * 384 * 1536),
    NANO: 12 * (4 * 768**2 + 3 * 768 * 3072),
}
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "ORT_DISABLE_TELEMETRY": "1"}
TYPE_OF = {32: "float32", 16: "bfloat16", 8: "int8", 4: "int8"}  # by which products of so many bits are made


def limits(pythons: Mapping[str, str], threads: int) -> dict[str, float]:
    """Probe products in thousand millions of operations a second, and memory in GB a second; what fails is left out."""
    found: dict[str, float] = {}
    for probe, python in pythons.items():
        words = [python, "-m", "benchmarks.engines.peers.limits", probe, str(threads)]
        done = subprocess.run(words, capture_output=True, text=True, env=os.environ | ENVIRONMENT, check=False)
        if done.returncode == 0:
            found |= json.loads(done.stdout)
    return found


def share(model: str, tokens_per_s: float, bits: int, limits: Mapping[str, float]) -> float | None:
    """Return which part of the machine's products in a type a speed is, the attention's own products left out."""
    limit = limits.get(TYPE_OF[bits])
    return 2e-9 * WEIGHTS[model] * tokens_per_s / limit if limit else None


def conditions(threads: int) -> dict[str, Any]:
    """Tell what else decides about speed: the load, the governor, the flags of the processor, its heat."""
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return {
        "threads": threads,
        "cpus": sorted(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "governor": governor.read_text().strip() if governor.exists() else None,
        "celsius": celsius(),
        "megahertz": megahertz(),
        "flags": [one for one in flags[1].split() if re.match("avx|amx|fma|asimd|sve|i8mm|bf16|f16c", one)]
        if flags
        else [],
    }
