"""The tables that people paste from their own boards: a Raspberry Pi's and a Mac's, made here of tiny models."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import sensors
from benchmarks.models import static
from edge_embed import Embedder


def last_line(capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, object]]:
    text = capsys.readouterr().out
    return text, json.loads(text.splitlines()[-1])


def test_a_pis_table(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["speed.pi", f"{converted}:int8", "--queries", "3", "--texts", "4", "--seconds", "0"])
    text, figures = last_line(capsys)
    (row,) = figures["models"].values()  # type: ignore[attr-defined]
    assert min(row[key] for key in ("start_s", "p50_ms", "p90_ms", "first_per_s", "last_per_s", "peak_mb")) > 0
    assert f"| {converted}:int8 | " in text
    assert "vcgencmd: not there" in text or "slowed since the start by" in text


def test_a_static_model_of_the_size_of_others(converted: Path, tmp_path: Path) -> None:
    folder = static.write(tmp_path / "static", converted / "tokenizer.json", 8)
    with Embedder(folder) as model:
        assert model.encode(["a", "b"]).shape == (2, 8)


@pytest.mark.skipif(importlib.util.find_spec("mlx") is None, reason="MLX is not installed")
def test_a_macs_table(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["speed.apple", "tiny", "--levels", "float32", "4bit", "--cases", "16", "8 x 64", "--rounds", "1"])
    text, figures = last_line(capsys)
    assert "| tiny, tokens/s on " in text
    assert list(figures["levels"]) == ["float32", "4bit"]  # type: ignore[call-overload]


def board(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_sensors_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "SECONDS", 0.001)
    zones, policies = "sys/class/thermal/thermal_zone", "sys/devices/system/cpu/cpufreq/policy"
    heat, speed = f"{zones}0/temp", f"{policies}0/scaling_cur_freq"
    root = board(tmp_path, {heat: "48300\n", f"{zones}1/temp": "nothing\n", speed: "1500000\n"})
    board(root, {f"{policies}4/scaling_cur_freq": "2400000\n"})
    assert (sensors.celsius(root), sensors.megahertz(root)) == (48.3, 1500)
    with sensors.Watch(root) as seen:
        while seen.hottest is None:
            time.sleep(0.001)
        board(root, {heat: "81000\n", speed: "600000\n"})
        while (seen.hottest, seen.slowest) != (81, 600):
            time.sleep(0.001)
    assert (seen.start, seen.hottest, seen.slowest) == (48.3, 81, 600)


def test_a_machine_without_sensors_tells_nothing(tmp_path: Path) -> None:
    with sensors.Watch(tmp_path) as seen:
        pass
    assert (seen.start, seen.hottest, seen.slowest) == (None, None, None)


def test_what_the_firmware_slowed_down() -> None:
    """The bits as vcgencmd's documentation has them."""
    assert sensors.parse_throttled("throttled=0x0\n") == []
    assert sensors.parse_throttled("throttled=0xe0008\n") == [
        "frequency capped",
        "throttled",
        "soft temperature limit",
    ]
    assert sensors.parse_throttled("throttled=0x50005") == ["under-voltage", "throttled"]
    assert sensors.parse_throttled("VCHI initialization failed") is None


def test_the_firmware_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sensors.throttled() is None
    program = tmp_path / "vcgencmd"
    program.write_text("#!/bin/sh\necho throttled=0x20002\n")
    program.chmod(0o755)
    assert sensors.throttled() == ["frequency capped"]
