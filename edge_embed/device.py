"""What this machine is. Knows the operating system's files; decides nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")


def usable_cpus(cgroup: Path = CGROUP) -> int:
    """Count the CPUs that this process may use: affinity, capped by the container's quota (cgroup v2, then v1)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return count if quota is None else max(1, min(count, round(quota)))


def _quota(cgroup: Path) -> float | None:
    """Read the quota in CPUs; None where there is no limit or no cgroup."""
    try:
        if (cgroup / "cpu.max").exists():
            limit, period = (cgroup / "cpu.max").read_text().split()
        else:
            limit = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        return float(limit) / float(period) if limit not in ("max", "-1") else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def int8_products_overflow(cpuinfo: Path = CPUINFO, machine: str | None = None) -> bool:
    """Whether the fast int8 instructions may overflow 16 bits: x86-64 without VNNI, or where that cannot be told.

    benchmarks/overflow.py shows what that costs: a cosine of 0.995 in place of 1 on all-MiniLM-L6-v2.
    """
    if (machine or platform.machine()).lower() not in ("x86_64", "amd64"):
        return False
    try:
        words = set(cpuinfo.read_text().split())
    except OSError:
        return True
    return not words & {"avx512_vnni", "avx_vnni", "avx512vnni", "avxvnni"}
