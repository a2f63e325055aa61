"""When a job in the background waits: read from a tree that stands in for the system's."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edge_embed.jobs.background import Background, on_battery


def battery(root: Path, status: str, scope: str | None = None) -> None:
    folder = root / "sys/class/power_supply/BAT0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text(f"{status}\n")
    if scope:
        (folder / "scope").write_text(f"{scope}\n")


def test_batteries(tmp_path: Path) -> None:
    assert not on_battery(tmp_path)
    battery(tmp_path, "Charging")
    assert not on_battery(tmp_path)
    battery(tmp_path, "Discharging")
    assert on_battery(tmp_path)
    battery(tmp_path, "Discharging", "Device")  # a mouse's
    assert not on_battery(tmp_path)


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="the system counts no ticks")
def test_waits_until_others_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "nice", lambda more: 10)
    stat, ticks, now = tmp_path / "proc/stat", os.sysconf("SC_CLK_TCK"), [1000.0]
    stat.parent.mkdir()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def used(seconds: float) -> None:
        stat.write_text(f"cpu  {round(seconds * ticks)} 0 0 99 0 0 0 0 0 0\n")

    used(0)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds
        used(100 if len(slept) < 3 else 100.5)

    background = Background(tmp_path, sleep)
    used(50)
    background.wait()  # too soon to look
    assert not slept
    now[0] += 20
    background.wait()  # 50 of 20 seconds, then 50 of 10, then none
    assert len(slept) == 2
    now[0] += 20
    used(101)
    battery(tmp_path, "Discharging")
    answers = iter([True, False])
    monkeypatch.setattr(Background, "busy", lambda self: next(answers))
    background.wait()
    assert len(slept) == 3
