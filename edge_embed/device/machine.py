"""What this machine is: processor, cores, what a container allows, memory, graphics. Decides nothing.

Knows the operating system's files. `root` is the file system to look in, so that any machine can be described.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import cgroup, cpu

ROOT = Path("/")


@dataclass(frozen=True)
class Device:
    """A machine as one process sees it; memory in bytes, None where the system does not tell.

    `cpus` is how many the process may use, `quota` their worth in time; `fast_cores` are physical and do not save
    energy. `memory_limit` is the container's, already the lesser of it and `memory`.
    """

    system: str
    machine: str
    processor: str
    features: frozenset[str]
    cpus: int
    cores: int
    fast_cores: int
    quota: float | None
    memory: int | None
    memory_limit: int | None
    memory_available: int | None
    graphics: tuple[str, ...]

    @property
    def apple(self) -> bool:
        """Whether it is a Mac with Apple's processor, whose GPU shares the memory."""
        return self.system == "Darwin" and self.machine == "arm64"

    @property
    def threads(self) -> int:
        """How many threads a computation should use: the fast cores, as far as the quota pays for them."""
        return _within(self.fast_cores, self.quota)

    @property
    def why_threads(self) -> str:
        """Say why `threads` is what it is."""
        if self.quota is not None and self.threads < self.fast_cores:
            return f"the container's quota is {self.quota:g} CPUs"
        if self.fast_cores < self.cores:
            return f"one for each fast core of {self.cores}"
        return "one for each core that may be used"


@cache
def this_device() -> Device:
    """Describe the machine that this process runs on."""
    return describe(ROOT, platform.system(), platform.machine())


def describe(root: Path, system: str, machine: str) -> Device:
    """Describe the machine whose files lie under `root`."""
    text = _cpu_text(root, system)
    allowed = _allowed()
    siblings, capacities = _numbered(root, "topology/thread_siblings_list"), _numbered(root, "cpu_capacity")
    performance = _read(root / "sys/devices/cpu_core/cpus")
    fast = cpu.fast_cpus(
        allowed,
        {number: int(value) for number, value in capacities.items() if value.strip().isdigit()},
        cpu.parse_cpu_list(performance) if performance else None,
    )
    fast_cores = _sysctl_number(text, "hw.perflevel0.physicalcpu") or cpu.physical_cores(fast, siblings)
    cores = _sysctl_number(text, "hw.physicalcpu") or cpu.physical_cores(allowed, siblings)
    total, available = _memory(root, text)
    limit = min((size for size in (total, cgroup.memory_limit(root)) if size is not None), default=None)
    return Device(
        system=system,
        machine=machine,
        processor=cpu.parse_name(text) or platform.processor() or machine,
        features=cpu.parse_features(text),
        cpus=len(allowed),
        cores=cores,
        fast_cores=fast_cores,
        quota=cgroup.cpu_quota(root),
        memory=total,
        memory_limit=limit,
        memory_available=available,
        graphics=tuple(_graphics(root, system, machine, text)),
    )


def usable_cpus(root: Path = ROOT) -> int:
    """Count the CPUs that this process may use: affinity, capped by the container's quota."""
    return _within(len(_allowed()), cgroup.cpu_quota(root))


def int8_products_overflow(cpuinfo: Path = ROOT / "proc/cpuinfo", machine: str | None = None) -> bool:
    """Whether the fast int8 instructions may overflow 16 bits: x86-64 without VNNI, or where that cannot be told.

    `python -m benchmarks quality.overflow` shows what that costs: a cosine of 0.995 in place of 1 on all-MiniLM-L6-v2.
    """
    if (machine or platform.machine()).lower() not in ("x86_64", "amd64"):
        return False
    return not cpu.parse_features(_read(cpuinfo) or "") & cpu.VNNI


def resident_peak() -> int | None:
    """Return the most memory that this process ever had resident, in bytes; None where the system does not tell.

    On Linux it is the kernel's VmHWM: what getrusage says includes the process that this one was started from.
    """
    if found := re.search(r"^VmHWM:\s*(\d+) kB", _read(ROOT / "proc/self/status") or "", re.M):
        return int(found[1]) << 10
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _within(count: int, quota: float | None) -> int:
    """Round a quota to the nearest: with 1.5 CPUs two threads did 1.1 times as much as one, with 1.25 as much."""
    return count if quota is None else max(1, min(count, int(quota + 0.5)))


def _allowed() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _cpu_text(root: Path, system: str) -> str:
    """Return what the system says of the processor, as `key : value` lines."""
    if system == "Darwin":
        command = ["/usr/sbin/sysctl", "-a"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    if system == "Windows":
        return _windows_features()
    return _read(root / "proc/cpuinfo") or ""


def _windows_features() -> str:
    """Ask Windows, which knows AVX2, AVX-512 and ARM's dot products but not VNNI."""
    known = {40: "avx2", 41: "avx512f", 43: "asimddp"}
    kernel32 = getattr(ctypes, "windll").kernel32  # noqa: B009 - exists on Windows only
    return "flags : " + " ".join(name for number, name in known.items() if kernel32.IsProcessorFeaturePresent(number))


def _numbered(root: Path, name: str) -> dict[int, str]:
    """Read one file of every CPU's folder."""
    found = {}
    for folder in (root / "sys/devices/system/cpu").glob("cpu[0-9]*"):
        if text := _read(folder / name):
            found[int(folder.name[3:])] = text
    return found


def _memory(root: Path, text: str) -> tuple[int | None, int | None]:
    """Return all memory and what of it is free for new programs, in bytes."""
    facts = {}
    for line in (_read(root / "proc/meminfo") or "").splitlines():
        key, _, value = line.partition(":")
        if value.split() and value.split()[0].isdigit():
            facts[key] = int(value.split()[0]) << 10
    return facts.get("MemTotal") or _sysctl_number(text, "hw.memsize"), facts.get("MemAvailable")


def _graphics(root: Path, system: str, machine: str, text: str) -> list[str]:
    """Name the graphics processors that a backend could use, if it was built for them."""
    if system == "Darwin" and machine == "arm64":
        return [f"{cpu.parse_name(text) or 'Apple'} GPU (Metal)"]
    found = []
    for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        model = next((line for line in (_read(path) or "").splitlines() if line.startswith("Model:")), "Model: NVIDIA")
        found.append(f"{model.partition(':')[2].strip()} (CUDA)")
    if (root / "dev/kfd").exists():
        found.append("AMD GPU (ROCm)")
    if not found and list((root / "dev/dri").glob("renderD*")):
        found.append("a GPU (Vulkan)")
    return found


def _sysctl_number(text: str, key: str) -> int | None:
    line = next((line for line in text.splitlines() if line.startswith(f"{key}:")), "")
    value = line.partition(":")[2].strip()
    return int(value) if value.isdigit() else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
