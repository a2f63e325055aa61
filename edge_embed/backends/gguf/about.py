"""What llama.cpp was built for, and what it costs where it leaves the processor's instructions unused."""

from __future__ import annotations

import importlib
from typing import Any

from edge_embed.remedies.installing import install_package

# Our name of an instruction set -> llama.cpp's, in the order of what its absence costs.
BUILD_FLAGS = {
    "dotprod": "DOTPROD",
    "i8mm": "MATMUL_INT8",
    "avx2": "AVX2",
    "avx512_vnni": "AVX512_VNNI",
    "avx_vnni": "AVX_VNNI",
    "avx512": "AVX512",
    "avx512_bf16": "AVX512_BF16",
    "amx_int8": "AMX_INT8",
    "sve": "SVE",
}
REBUILD = "--force-reinstall --no-cache-dir --no-binary llama-cpp-python"  # which pip and uv call alike


def describe(features: frozenset[str]) -> tuple[tuple[str, ...], str | None]:
    """Return the devices of the build, and a warning for instruction sets that it was built without."""
    llama: Any = importlib.import_module(".runtime", __package__).llama_cpp
    build = parse_system_info(llama.llama_print_system_info().decode())
    amx: Any = importlib.import_module(".amx", __package__)
    return tuple(build), build_warning(features, build.get("CPU", {})) if amx.is_sound() else amx.WARNING


def parse_system_info(text: str) -> dict[str, dict[str, str]]:
    """Read `llama_print_system_info()`: a device of the build -> its flags.

    The text is `CPU : AVX2 = 1 | FMA = 1 | CUDA : ARCHS = 750 | `; a flag that is off may be left out.
    """
    found: dict[str, dict[str, str]] = {}
    device = "CPU"
    for part in text.split("|"):
        head, colon, rest = part.partition(" : ")
        if colon:
            device, part = head.strip(), rest
        name, equals, value = part.partition("=")
        if equals:
            found.setdefault(device, {})[name.strip()] = value.strip()
    return found


def missing_flags(features: frozenset[str], build: dict[str, str]) -> list[str]:
    """List the instruction sets that the processor has and llama.cpp was built without, the costliest first."""
    on = {name for name, value in build.items() if value not in ("0", "")}
    return [name for name, flag in BUILD_FLAGS.items() if name in features and flag not in on]


def build_warning(features: frozenset[str], build: dict[str, str]) -> str | None:
    """Say what a build of llama.cpp that leaves instructions unused costs, and how to make a better one."""
    missing = missing_flags(features, build)
    if not missing:
        return None
    cost = ""
    if "dotprod" in missing:  # the wheels for aarch64 are built for armv8-a
        cost = ", which makes it 2 to 3 times slower"
    elif "avx2" in missing:
        cost = ", which makes it several times slower"
    command = f"CMAKE_ARGS='-DGGML_NATIVE=on' {install_package('llama-cpp-python', REBUILD)}"
    return f"it was built without {', '.join(missing)}, which this processor has{cost}; build it here: {command}"
