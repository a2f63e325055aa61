"""What the doctor says of machines that are described here, and of this one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge_embed.backends.engines import Engine
from edge_embed.backends.facts import names
from edge_embed.cli.main import main
from edge_embed.device.machine import Device
from edge_embed.remedies.installing import install_extra
from edge_embed.selection.doctor import GB, Diagnosis, advise, diagnose

PI = Device(
    system="Linux",
    machine="aarch64",
    processor="Raspberry Pi 5",
    features=frozenset({"neon", "dotprod"}),
    cpus=4,
    cores=4,
    fast_cores=4,
    quota=None,
    memory=8 * GB,
    memory_limit=8 * GB,
    memory_available=None,
    graphics=(),
)
LAPTOP = replace(
    PI, machine="x86_64", processor="i7", features=frozenset({"avx2", "avx_vnni"}), cpus=20, cores=14, fast_cores=6
)
MAC = replace(PI, system="Darwin", machine="arm64", processor="Apple M2", graphics=("Apple M2 GPU (Metal)",))
ONNX = Engine("onnx", "onnxruntime", "1.31", ("CPU",))
GGUF = Engine("gguf", "llama-cpp-python", "0.3", ("CPU",))


@pytest.mark.parametrize(
    ("device", "engines", "expected"),
    [
        (MAC, (ONNX, Engine("mlx", "mlx", None)), f"The GPU is not used: {install_extra('mlx')}."),
        (PI, (ONNX, replace(GGUF, warning="built without dotprod")), "llama-cpp-python: built without dotprod."),
        (PI, (ONNX, GGUF), "int8 ONNX and Q8_0 or Q4_0 GGUF weights use the processor's dot products."),
        (replace(PI, features=frozenset({"neon"})), (ONNX,), "The processor has no dot products for int8"),
        (LAPTOP, (ONNX,), "int8 ONNX weights are the fastest here"),
        (replace(LAPTOP, features=frozenset({"avx2"})), (ONNX,), "Without VNNI int8 takes the exact, slower kernels"),
        (replace(LAPTOP, quota=1.5), (ONNX,), "The container's quota of 1.5 CPUs, not the 14 cores"),
        (replace(PI, memory_limit=GB // 2), (ONNX,), "Memory is short"),
        (replace(LAPTOP, graphics=("NVIDIA H100 (CUDA)",)), (ONNX, GGUF), "NVIDIA H100 (CUDA) is not used"),
    ],
)
def test_advice(device: Device, engines: tuple[Engine, ...], expected: str) -> None:
    assert any(sentence.startswith(expected) for sentence in advise(device, engines))


def test_no_advice_that_is_not_due() -> None:
    everything = (ONNX, replace(GGUF, uses=("CUDA", "CPU")), Engine("mlx", "mlx", "0.32", ("Metal",)))
    assert advise(MAC, everything) == []
    told = " ".join(advise(replace(LAPTOP, graphics=("NVIDIA H100 (CUDA)",)), everything))
    assert "not used" not in told


def test_the_paragraph_says_machine_engines_and_remedy() -> None:
    device = replace(LAPTOP, memory_limit=2 * GB)
    told = Diagnosis(device, (ONNX, replace(GGUF, version=None)), ("Do this.",)).paragraph()
    assert told == (
        "This is i7 (Linux, x86_64) with avx2, avx_vnni: 14 cores (6 fast), 8.0 GB of memory, of which the container "
        "may use 2.0 GB. Models run on 6 threads (one for each fast core of 14) unless threads= says otherwise. "
        "Installed: onnxruntime 1.31 for onnx (CPU). Where a thread waits for the others, onnxruntime spins for 50 us "
        f"at most before it sleeps. Not installed: gguf ({install_extra('gguf')}). Do this."
    )


def test_this_machine(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnose().paragraph().startswith("This is ")
    assert main(["doctor", f"{converted}:int8"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.endswith("onnx:int8 (named) would be loaded.")
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["threads"] >= 1
    assert told["device"]["cores"] >= 1
    assert {engine["backend"] for engine in told["engines"]} == set(names())
