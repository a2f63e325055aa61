"""The processor, read from what the operating system says of it: instructions that matter here, cores, its name.

Every function takes text, so that any machine can be told from its files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

# Our name -> what /proc/cpuinfo calls it (x86 `flags`, ARM `Features`), and what macOS's sysctl does.
FEATURES: dict[str, tuple[str, ...]] = {
    "avx2": ("avx2", "hw.optional.avx2_0"),
    "avx512": ("avx512f", "hw.optional.avx512f"),
    "avx512_vnni": ("avx512_vnni", "avx512vnni"),
    "avx512_bf16": ("avx512_bf16",),
    "avx_vnni": ("avx_vnni", "avxvnni"),
    "amx_int8": ("amx_int8",),
    "neon": ("asimd", "neon", "hw.optional.neon"),
    "dotprod": ("asimddp", "hw.optional.arm.FEAT_DotProd"),
    "fp16": ("asimdhp", "hw.optional.arm.FEAT_FP16"),
    "i8mm": ("i8mm", "hw.optional.arm.FEAT_I8MM"),
    "bf16": ("bf16", "hw.optional.arm.FEAT_BF16"),
    "sve": ("sve",),
}
VNNI = frozenset({"avx512_vnni", "avx_vnni"})
SLOW_CORE = 0.75  # of the fastest core's capacity; below it a core is one that saves energy


def parse_features(text: str) -> frozenset[str]:
    """Read the instruction sets that matter here, by our names, out of `/proc/cpuinfo` or of `sysctl -a`."""
    words: set[str] = set()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in ("flags", "features"):
            words |= set(value.lower().split())
        elif key.startswith("hw.optional.") and value.strip() == "1":
            words.add(key.strip())
    return frozenset(name for name, spellings in FEATURES.items() if words & set(spellings))


def parse_name(text: str) -> str | None:
    """Read the processor's or the board's name out of `/proc/cpuinfo` or of `sysctl -a`."""
    for key in ("model name", "machdep.cpu.brand_string", "Model", "Hardware"):
        if found := re.search(rf"^{re.escape(key)}\s*:\s*(\S.*)$", text, re.M):
            return found[1].strip()
    return None


def parse_cpu_list(text: str) -> set[int]:
    """Read the kernel's way of writing a set of CPUs, `0-3,8`."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus |= set(range(int(first), int(last or first) + 1))
    return cpus


def physical_cores(cpus: Iterable[int], siblings: Mapping[int, str]) -> int:
    """Count the cores behind some CPUs; `siblings` has what each one's `thread_siblings_list` says."""
    return len({siblings.get(cpu, str(cpu)).strip() for cpu in cpus})


def fast_cpus(cpus: Iterable[int], capacities: Mapping[int, int], performance: set[int] | None = None) -> set[int]:
    """Pick the CPUs that do not save energy: those in `performance` (Intel's hybrids), or those of high capacity (ARM).

    All of them where the machine says nothing, or where only slow ones may be used.
    """
    usable = set(cpus)
    if performance is not None and usable & performance:
        return usable & performance
    best = max((capacities.get(cpu, 0) for cpu in usable), default=0)
    return {cpu for cpu in usable if capacities.get(cpu, best) >= SLOW_CORE * best}
