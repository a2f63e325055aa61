"""What the machine is, read from files of the operating system that the tests write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_embed.device import int8_products_overflow, usable_cpus


@pytest.fixture(autouse=True)
def _eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "1600000 100000"}, 8),
        ({"cpu.max": "garbage"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "0"}, 8),
    ],
)
def test_a_containers_quota_counts(tmp_path: Path, files: dict[str, str], cpus: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert usable_cpus(tmp_path) == cpus


@pytest.mark.parametrize(
    ("machine", "flags", "overflow"),
    [
        ("x86_64", "avx2 avx512f avx512_vnni", False),
        ("x86_64", "avx2 avx_vnni", False),
        ("AMD64", "avx2 avx512f", True),
        ("x86_64", None, True),
        ("aarch64", "asimd asimddp", False),
        ("arm64", None, False),
    ],
)
def test_where_int8_products_may_overflow(tmp_path: Path, machine: str, flags: str | None, overflow: bool) -> None:
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : fpu {flags} rdpid\n")
    assert int8_products_overflow(tmp_path / "cpuinfo", machine) is overflow
