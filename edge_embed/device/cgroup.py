"""What a container or a service manager allows this process: CPU quota and memory limit of its cgroups, v1 and v2.

A limit may be set on any group above the process's own, so every one up to the mount is read; the least counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

Value = TypeVar("Value")
ROOT = Path("/")
NO_LIMIT = 1 << 60  # bytes; cgroup v1 says "none" by a number near 2^63


@dataclass(frozen=True)
class Mount:
    """One cgroup hierarchy: its controllers (none named in v2), which group is mounted, and where."""

    version: int
    controllers: frozenset[str]
    group: PurePosixPath
    point: PurePosixPath


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return the CPUs' worth of time that the process may use; None where there is no limit or no cgroup.

    `root` is the file system to look in.
    """
    limits = [_v2_quota(folder) for folder in _groups(root, 2, "cpu")]
    limits += [_v1_quota(folder) for folder in _groups(root, 1, "cpu")]
    return min((limit for limit in limits if limit is not None), default=None)


def memory_limit(root: Path = ROOT) -> int | None:
    """Return how many bytes the process and those beside it in the container may use; None where there is no limit.

    `memory.high` counts as well: beyond it the kernel slows the process down rather than ending it.
    """
    limits = [_number(folder / name) for folder in _groups(root, 2, "memory") for name in ("memory.max", "memory.high")]
    limits += [_number(folder / "memory.limit_in_bytes") for folder in _groups(root, 1, "memory")]
    return min((limit for limit in limits if limit is not None and limit < NO_LIMIT), default=None)


def parse_mounts(mountinfo: str) -> list[Mount]:
    """Read the cgroup hierarchies out of `/proc/self/mountinfo`."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, *rest) = left.split(), right.split() or [""]
        if kind in ("cgroup", "cgroup2") and len(fields) >= 5:
            options = frozenset(rest[-1].split(",")) if kind == "cgroup" else frozenset[str]()
            group, point = (PurePosixPath(_unescape(field)) for field in fields[3:5])
            found.append(Mount(2 if kind == "cgroup2" else 1, options, group, point))
    return found


def parse_groups(cgroup: str) -> dict[str, PurePosixPath]:
    """Read `/proc/self/cgroup`: controller -> the process's group; the controller of v2 is ''."""
    found: dict[str, PurePosixPath] = {}
    for line in cgroup.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            found |= {name: PurePosixPath(parts[2]) for name in parts[1].split(",")}
    return found


def _groups(root: Path, version: int, controller: str) -> Iterator[Path]:
    """Give the folders of the process's group and of all above it, as far as they are mounted."""
    try:
        mounts = parse_mounts((root / "proc/self/mountinfo").read_text())
        groups = parse_groups((root / "proc/self/cgroup").read_text())
    except OSError:
        return
    group = groups.get("" if version == 2 else controller)
    for mount in mounts:
        if group is None or mount.version != version or (version == 1 and controller not in mount.controllers):
            continue
        # Inside a container the paths of the two files may be seen from different places: then the mount is the group.
        below = group.relative_to(mount.group) if group.is_relative_to(mount.group) else PurePosixPath()
        folder = mount.point / below
        while folder.is_relative_to(mount.point):
            yield root / str(folder).lstrip("/")
            if folder == mount.point:
                break
            folder = folder.parent


def _v2_quota(folder: Path) -> float | None:
    return _read(folder / "cpu.max", lambda text: _share(*text.split()))


def _v1_quota(folder: Path) -> float | None:
    period = _read(folder / "cpu.cfs_period_us", str.strip)
    return _read(folder / "cpu.cfs_quota_us", lambda text: _share(text, period or "0"))


def _share(quota: str, period: str) -> float | None:
    return float(quota) / float(period) if quota.strip() != "max" and float(quota) > 0 else None


def _number(path: Path) -> int | None:
    return _read(path, lambda text: None if text.strip() == "max" else int(text))


def _read(path: Path, parse: Callable[[str], Value]) -> Value | None:
    """Return what a file says; None where it is missing or says something else."""
    try:
        return parse(path.read_text())
    except (OSError, ValueError, TypeError, ZeroDivisionError):
        return None


def _unescape(field: str) -> str:
    """Undo the octal escapes of spaces in mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
