"""What this machine is, what is installed, what a model would be run with and why, and what would make it faster."""

from __future__ import annotations

import dataclasses
import platform
from dataclasses import dataclass
from typing import Any

from edge_embed.backends.engines import Engine, engines
from edge_embed.backends.facts import facts
from edge_embed.device.cpu import VNNI
from edge_embed.device.machine import Device, this_device
from edge_embed.remedies.installing import install_extra

from .quicker import COMMAND, GAIN

GB = 1 << 30


@dataclass(frozen=True)
class Diagnosis:
    """The machine, the engines, and advice: one sentence each, the most useful first."""

    device: Device
    engines: tuple[Engine, ...]
    advice: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "device": dataclasses.asdict(self.device) | {"features": sorted(self.device.features)},
            "threads": self.device.threads,
            "engines": [dataclasses.asdict(engine) for engine in self.engines],
            "advice": list(self.advice),
            "python": platform.python_version(),
        }

    def paragraph(self) -> str:
        """Return all of it as one paragraph for people."""
        return " ".join([_machine(self.device), _installed(self.engines), *self.advice])


def diagnose() -> Diagnosis:
    """Look at this machine and at what is installed; takes a second, since engines are loaded."""
    device = this_device()
    found = tuple(engines(device.features))
    return Diagnosis(device, found, tuple(advise(device, found)))


def advise(device: Device, found: tuple[Engine, ...]) -> list[str]:
    """Say what to install or to choose so that embedding is faster on a machine."""
    installed = {engine.backend for engine in found if engine.version is not None}
    advice = []
    if device.apple and "mlx" not in installed:
        advice.append(f"The GPU is not used: {install_extra('mlx')}.")
    for engine in found:
        if engine.warning:
            advice.append(f"{engine.package}: {engine.warning}.")
    graphics = [name for name in device.graphics if "Metal" not in name]
    gguf = next((engine for engine in found if engine.backend == "gguf"), None)
    if graphics and gguf is not None and gguf.version and set(gguf.uses) <= {"CPU"}:
        advice.append(f"{graphics[0]} is not used: llama-cpp-python is built for the CPU alone.")
    if device.machine.lower() in ("x86_64", "amd64"):
        if device.features & VNNI:
            advice.append("int8 ONNX weights are the fastest here: the processor has VNNI; name them as MODEL:int8.")
            if gguf is not None and gguf.version:
                advice.append(
                    f'They are {GAIN} as GGUF weights ({COMMAND}): backend="fastest" converts a GGUF file, once.'
                )
        else:
            advice.append("Without VNNI int8 takes the exact, slower kernels: compare MODEL:int8 with MODEL:float32.")
    elif device.system == "Linux":
        if "dotprod" in device.features:
            advice.append("int8 ONNX and Q8_0 or Q4_0 GGUF weights use the processor's dot products.")
        else:
            advice.append("The processor has no dot products for int8: Q4_0 GGUF weights move the least memory.")
    if device.quota is not None and device.quota < device.cores:
        advice.append(f"The container's quota of {device.quota:g} CPUs, not the {device.cores} cores, sets the speed.")
    if device.memory_limit is not None and device.memory_limit < GB:
        advice.append("Memory is short: see edge-embed plan MODEL --max-tokens N for what fits.")
    return advice


def _machine(device: Device) -> str:
    known = ", ".join(sorted(device.features)) or "no vector instructions that are known"
    cores = f"{device.cores} cores" + (f" ({device.fast_cores} fast)" if device.fast_cores < device.cores else "")
    memory = f", {device.memory / GB:.1f} GB of memory" if device.memory else ""
    if device.memory_limit is not None and device.memory_limit != device.memory:
        memory += f", of which the container may use {device.memory_limit / GB:.1f} GB"
    graphics = f"; {', '.join(device.graphics)}" if device.graphics else ""
    return (
        f"This is {device.processor} ({device.system}, {device.machine}) with {known}: {cores}{memory}{graphics}. "
        f"Models run on {device.threads} threads ({device.why_threads}) unless threads= says otherwise."
    )


def _installed(found: tuple[Engine, ...]) -> str:
    present = [
        f"{engine.package} {engine.version} for {engine.backend} ({', '.join(engine.uses) or 'broken'})"
        for engine in found
        if engine.version is not None
    ]
    missing = [f"{engine.backend} ({facts(engine.backend).install})" for engine in found if engine.version is None]
    spin = {engine.package: facts(engine.backend).spin for engine in found if engine.version is not None}
    spins = [f"{package} spins for {duration}" for package, duration in spin.items() if duration]
    waiting = f" Where a thread waits for the others, {' and '.join(spins)} at most before it sleeps." if spins else ""
    text = f"Installed: {'; '.join(present) or 'no engine'}.{waiting}"
    return f"{text} Not installed: {', '.join(missing)}." if missing else text
