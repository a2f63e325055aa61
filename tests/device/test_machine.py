"""What a machine is, read from files of its operating system that the tests write."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from pathlib import Path

import pytest

from edge_embed.backends.engines import engines
from edge_embed.backends.facts import by_preference
from edge_embed.backends.gguf.about import build_warning, parse_system_info
from edge_embed.device import machine as device
from edge_embed.device.cgroup import cpu_quota, memory_limit, parse_groups, parse_mounts
from edge_embed.device.cpu import fast_cpus, parse_cpu_list, parse_features, parse_name
from edge_embed.device.machine import describe, int8_products_overflow, resident_peak, usable_cpus

GB = 1 << 30
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "".join(
    f"{number} 31 0:{number} {{root}} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{options}\n"
    for number, (name, options) in enumerate([("cpu,cpuacct", "cpu,cpuacct"), ("memory", "memory")], 32)
)
PI_5 = """processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU part\t: 0xd0b

Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
PI_4 = PI_5.replace(" asimdhp", "").replace(" asimddp", "").replace("Pi 5", "Pi 4")
HYBRID = "model name\t: 12th Gen Intel(R) Core(TM) i7-12700H\nflags\t\t: fpu avx avx2 avx_vnni gfni\n"
XEON = "model name\t: Intel(R) Xeon(R) Platinum 8480C\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_int8 amx_tile\n"
M2 = """hw.memsize: 17179869184
hw.physicalcpu: 8
hw.perflevel0.physicalcpu: 4
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_SME: 0
hw.optional.neon: 1
machdep.cpu.brand_string: Apple M2
"""


@pytest.fixture(autouse=True)
def _eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def v2(group: str, **files: str) -> dict[str, str]:
    """Return a machine's files; the groups' are given as slice__cpu_max="...", the root's as __cpu_max."""
    named = {name.rpartition("__"): text for name, text in files.items()}
    groups = {
        f"sys/fs/cgroup/{above.replace('__', '/')}/{name.replace('_', '.')}": text + "\n"
        for (above, _, name), text in named.items()
    }
    return {"proc/self/mountinfo": V2, "proc/self/cgroup": f"0::{group}\n", **groups}


@pytest.mark.parametrize(
    ("files", "quota", "cpus"),
    [
        ({}, None, 8),
        (v2("/"), None, 8),
        (v2("/", __cpu_max="max 100000"), None, 8),
        (v2("/", __cpu_max="200000 100000"), 2, 2),
        (v2("/", __cpu_max="50000 100000"), 0.5, 1),
        (v2("/", __cpu_max="150000 100000"), 1.5, 2),
        (v2("/", __cpu_max="1600000 100000"), 16, 8),
        (v2("/", __cpu_max="garbage"), None, 8),
        (v2("/a/b", a__b__cpu_max="max 100000", a__cpu_max="300000 100000"), 3, 3),  # set above the own group
        (v2("/a/b", a__b__cpu_max="400000 100000", a__cpu_max="300000 100000"), 3, 3),
        (v2("/a", a__cpu_max="400000 100000", b__cpu_max="100000 100000"), 4, 4),  # another's is not ours
        (v2("/../../outside", __cpu_max="200000 100000"), 2, 2),  # seen from inside a namespace
    ],
)
def test_a_quota_of_version_2(tmp_path: Path, files: dict[str, str], quota: float | None, cpus: int) -> None:
    machine(tmp_path, files)
    assert cpu_quota(tmp_path) == quota
    assert usable_cpus(tmp_path) == cpus


@pytest.mark.parametrize(
    ("root", "folder", "quota", "expected"),
    [
        ("/", "docker/abc", "300000", 3),
        ("/docker/abc", "", "300000", 3),  # what a container sees: its own group is the mount's root
        ("/docker/abc", "", "-1", None),
        ("/", "docker/abc", "0", None),
        ("/", "docker", "250000", 2.5),  # set above
        ("/", "other", "100000", None),
    ],
)
def test_a_quota_of_version_1(tmp_path: Path, root: str, folder: str, quota: str, expected: float | None) -> None:
    place = f"sys/fs/cgroup/cpu,cpuacct/{folder}/cpu.cfs"
    files = {f"{place}_quota_us": f"{quota}\n", f"{place}_period_us": "100000\n"}
    files |= {"proc/self/mountinfo": V1.format(root=root), "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n0::/\n"}
    assert cpu_quota(machine(tmp_path, files)) == expected


def test_a_period_of_zero_is_no_limit(tmp_path: Path) -> None:
    files = v2("/", __cpu_max="100000 0")
    assert cpu_quota(machine(tmp_path, files)) is None


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        (v2("/a/b", a__b__memory_max="max", a__memory_max=str(2 * GB)), 2 * GB),
        (v2("/a/b", a__b__memory_max=str(GB), a__memory_max=str(2 * GB)), GB),
        (v2("/a", a__memory_max=str(2 * GB), a__memory_high=str(GB)), GB),
    ],
)
def test_the_least_memory_limit_counts(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    assert memory_limit(machine(tmp_path, files)) == limit
    machine(tmp_path, {"proc/meminfo": f"MemTotal: {4 * GB >> 10} kB\nMemAvailable: {3 * GB >> 10} kB\n"})
    found = describe(tmp_path, "Linux", "x86_64")
    assert (found.memory, found.memory_available) == (4 * GB, 3 * GB)
    assert found.memory_limit == (limit or 4 * GB)


@pytest.mark.parametrize(("value", "limit"), [(str(GB), GB), ("9223372036854771712", None), ("-1x", None)])
def test_a_memory_limit_of_version_1(tmp_path: Path, value: str, limit: int | None) -> None:
    files = {"proc/self/mountinfo": V1.format(root="/"), "proc/self/cgroup": "3:memory:/lxc/x\n"}
    files["sys/fs/cgroup/memory/lxc/memory.limit_in_bytes"] = value + "\n"
    assert memory_limit(machine(tmp_path, files)) == limit


def test_mounts_and_groups_are_read() -> None:
    (mount,) = parse_mounts(
        "1 2 0:3 /a\\040b /mnt/c\\040d rw - cgroup cgroup rw,cpu\n5 6 0:7 / / rw - ext4 /dev/sda rw\n"
    )
    assert (mount.version, str(mount.group), str(mount.point)) == (1, "/a b", "/mnt/c d")
    assert "cpu" in mount.controllers
    assert {name: str(path) for name, path in parse_groups("4:cpu,cpuacct:/x:y\n0::/\n").items()} == {
        "cpu": "/x:y",
        "cpuacct": "/x:y",
        "": "/",
    }


@pytest.mark.parametrize(
    ("text", "features", "name"),
    [
        (PI_5, {"neon", "dotprod", "fp16"}, "Raspberry Pi 5 Model B Rev 1.0"),
        (PI_4, {"neon"}, "Raspberry Pi 4 Model B Rev 1.0"),
        (HYBRID, {"avx2", "avx_vnni"}, "12th Gen Intel(R) Core(TM) i7-12700H"),
        (XEON, {"avx2", "avx512", "avx512_vnni", "amx_int8"}, "Intel(R) Xeon(R) Platinum 8480C"),
        (M2, {"neon", "dotprod", "i8mm"}, "Apple M2"),
        ("", set(), None),
    ],
)
def test_what_a_processor_can(text: str, features: set[str], name: str | None) -> None:
    assert parse_features(text) == features
    assert parse_name(text) == name


def test_cores_that_save_energy_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six fast cores of two threads, eight slow ones; then a process that is kept to a part of them."""
    siblings = {cpu: f"{cpu - cpu % 2}-{cpu - cpu % 2 + 1}" if cpu < 12 else str(cpu) for cpu in range(20)}
    files = {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": text for cpu, text in siblings.items()}
    machine(tmp_path, files | {"proc/cpuinfo": HYBRID, "sys/devices/cpu_core/cpus": "0-11\n"})
    for allowed, cores, fast in [(range(20), 14, 6), (range(4), 2, 2), (range(10, 16), 5, 1), (range(12, 20), 8, 8)]:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, allowed=allowed: set(allowed))
        found = describe(tmp_path, "Linux", "x86_64")
        assert (found.cpus, found.cores, found.fast_cores, found.threads) == (len(allowed), cores, fast, fast)
        whole = fast == cores
        assert found.why_threads == (
            "one for each core that may be used" if whole else f"one for each fast core of {cores}"
        )
    machine(tmp_path, v2("/", __cpu_max="300000 100000"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(20)))
    limited = describe(tmp_path, "Linux", "x86_64")
    assert (limited.threads, limited.why_threads) == (3, "the container's quota is 3 CPUs")


def test_cores_of_an_arm_board(tmp_path: Path) -> None:
    files = {f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity": "381\n" if cpu < 4 else "1024\n" for cpu in range(8)}
    found = describe(machine(tmp_path, files), "Linux", "aarch64")
    assert (found.cpus, found.cores, found.fast_cores) == (8, 8, 4)
    assert fast_cpus([0, 1, 2], {0: 381, 1: 381}) == {0, 1, 2}  # one of which nothing is known
    assert fast_cpus([4, 5], {}, {0, 1}) == {4, 5}
    assert parse_cpu_list("0-2,7\n") == {0, 1, 2, 7}
    assert parse_cpu_list("") == set()


def test_a_mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_cpu_text", lambda root, system: M2)
    found = describe(tmp_path, "Darwin", "arm64")
    assert (found.cores, found.fast_cores, found.threads, found.memory) == (8, 4, 4, 16 * GB)
    assert found.graphics == ("Apple M2 GPU (Metal)",)


@pytest.mark.parametrize(
    ("files", "graphics"),
    [
        (
            {"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t NVIDIA H100\nIRQ: 5\n"},
            "NVIDIA H100 (CUDA)",
        ),
        ({"dev/kfd": ""}, "AMD GPU (ROCm)"),
        ({"dev/dri/renderD128": ""}, "a GPU (Vulkan)"),
    ],
)
def test_graphics_are_named(tmp_path: Path, files: dict[str, str], graphics: str) -> None:
    assert describe(machine(tmp_path, files), "Linux", "x86_64").graphics == (graphics,)


def test_this_machine_is_described() -> None:
    found = device.this_device()
    assert 1 <= found.threads <= found.fast_cores <= found.cores <= found.cpus
    assert found.processor
    peak = resident_peak()
    assert peak is None or found.memory is None or 1 << 20 < peak < found.memory


# Builds of llama.cpp as they print themselves: the wheel for aarch64, one made on a Raspberry Pi 5, one with CUDA.
WHEEL = "CPU : NEON = 1 | ARM_FMA = 1 | LLAMAFILE = 1 | OPENMP = 1 | REPACK = 1 | "
NATIVE = "CPU : NEON = 1 | ARM_FMA = 1 | FP16_VA = 1 | DOTPROD = 1 | LLAMAFILE = 1 | OPENMP = 1 | REPACK = 1 | "
CUDA = "CUDA : ARCHS = 750,800 | USE_GRAPHS = 1 | CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 0 | AVX512_VNNI = 0 | FMA = 1 | "


def test_the_build_of_llama_is_read() -> None:
    build = parse_system_info(CUDA)
    assert list(build) == ["CUDA", "CPU"]
    assert build["CUDA"]["ARCHS"] == "750,800"
    assert (build["CPU"]["AVX2"], build["CPU"]["AVX512"]) == ("1", "0")
    assert parse_system_info("") == {}


@pytest.mark.parametrize(
    ("build", "processor", "message"),
    [
        (WHEEL, PI_5, "built without dotprod, which this processor has, which makes it 2 to 3 times slower"),
        (WHEEL, PI_4, None),
        (NATIVE, PI_5, None),
        (
            CUDA,
            XEON,
            "built without avx512_vnni, avx512, amx_int8, which this processor has; build it here: CMAKE_ARGS",
        ),
        ("CPU : SSE3 = 1 | ", HYBRID, "built without avx2, avx_vnni, which .* makes it several times slower"),
    ],
)
def test_a_build_that_leaves_instructions_unused(build: str, processor: str, message: str | None) -> None:
    warning = build_warning(parse_features(processor), parse_system_info(build).get("CPU", {}))
    assert warning is None if message is None else re.search(message, warning or "")


def test_the_installed_engines_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {engine.backend: engine for engine in engines(frozenset())}
    assert list(found) == by_preference()
    assert found["onnx"].version is not None
    assert "CPU" in found["onnx"].uses
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert [engine.version for engine in engines(frozenset())] == [None] * len(found)


def test_an_engine_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(features: frozenset[str]) -> None:
        raise OSError("libomp.so: cannot open shared object file")

    monkeypatch.setattr("edge_embed.backends.onnx.about.describe", fail)
    assert engines(frozenset())[0].warning == "it does not load: libomp.so: cannot open shared object file"


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
