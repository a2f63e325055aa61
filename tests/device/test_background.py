"""When work in the background waits: read from a tree that stands in for the system's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge_embed import BackendError, Embedder, InputError
from edge_embed.device import battery, heat, priority
from edge_embed.device.background import Background
from edge_embed.device.battery import charge
from edge_embed.device.heat import hot

LINUX = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux has a niceness for each thread")


def write(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")
    return folder


def supply(root: Path, name: str = "BAT0", **files: object) -> None:
    write(root / "sys/class/power_supply" / name, **files)


def zone(root: Path, number: int = 0, **files: object) -> Path:
    return write(root / f"sys/class/thermal/thermal_zone{number}", **files)


def test_batteries(tmp_path: Path) -> None:
    assert charge(tmp_path) is None
    supply(tmp_path, "AC", online=0)
    supply(tmp_path, status="Charging", capacity=12)
    assert charge(tmp_path) is None
    supply(tmp_path, status="Discharging")
    assert charge(tmp_path) == 12
    supply(tmp_path, "BAT1", status="Not charging", capacity=90)
    assert charge(tmp_path) == 51
    supply(tmp_path, status="Discharging", scope="Device")  # a mouse's
    assert charge(tmp_path) is None


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, 0.0),  # it does not tell: as if empty
        ({"capacity": 250}, 0.0),
        ({"capacity": "full " * 1000}, 0.0),
        ({"capacity": -5, "energy_now": 30, "energy_full": 40}, 75.0),
        ({"charge_now": 1, "charge_full": 0}, 0.0),
        ({"charge_now": 10**60, "charge_full": 10**61}, 10.0),
    ],
)
def test_what_a_battery_tells(tmp_path: Path, files: dict[str, object], left: float) -> None:
    supply(tmp_path, status="Discharging", **files)
    assert charge(tmp_path) == left


def test_heat(tmp_path: Path) -> None:
    assert hot(tmp_path) is None
    zone(tmp_path, 0, type="acpitz", temp=int(1000 * heat.DEFAULT) - 1)
    assert hot(tmp_path) is None
    zone(tmp_path, 0, temp=int(1000 * heat.DEFAULT))
    assert hot(tmp_path) == f"acpitz has {heat.DEFAULT:.0f} degrees Celsius"
    zone(tmp_path, 0, trip_point_0_type="critical", trip_point_0_temp=60000)
    assert hot(tmp_path)  # at what is critical nothing slows down any more
    zone(tmp_path, 0, trip_point_1_type="passive", trip_point_1_temp=95000)
    zone(tmp_path, 0, trip_point_2_type="hot", trip_point_2_temp=100000)
    assert hot(tmp_path) is None
    zone(tmp_path, 0, temp=91000)
    assert hot(tmp_path) is None
    assert hot(tmp_path, margin=5) == "acpitz has 91 degrees Celsius"
    zone(tmp_path, 0, trip_point_1_temp=0)  # x86_pkg_temp's, when nobody has set it
    zone(tmp_path, 0, trip_point_2_temp=-274000)
    assert hot(tmp_path)


def test_sensors_that_tell_nonsense(tmp_path: Path) -> None:
    for number, text in enumerate(["", "nan", "-274000", str(10**40), "300000", "9" * 100000, "\x00\xff", "90 000"]):
        zone(tmp_path, number, type="odd", temp=text)
    (zone(tmp_path, 90) / "temp").mkdir()
    (tmp_path / "sys/class/thermal/thermal_zone91").write_text("a file")
    (tmp_path / "sys/class/thermal/thermal_zone92").symlink_to(tmp_path / "sys/class/thermal")
    assert hot(tmp_path) is None
    zone(tmp_path, 93, type="x" * 100000, temp=99000)
    assert len(str(hot(tmp_path))) < 100


def test_what_macos_tells() -> None:
    assert battery.parse_pmset("Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t62%; charged;") is None
    assert battery.parse_pmset("Now drawing from 'Battery Power'\n") == 0.0
    assert battery.parse_pmset("Now drawing from 'Battery Power'\n -InternalBattery-0\t62%; discharging;") == 62.0
    assert heat.parse_pmset("Note: No thermal warning level has been recorded\n") is None
    assert heat.parse_pmset("CPU_Scheduler_Limit \t= 100\n\tCPU_Speed_Limit \t= 100\n") is None
    assert heat.parse_pmset("\tCPU_Speed_Limit \t= 48\n") == "the processor is slowed down to 48 %"
    assert heat.parse_pmset("Thermal warning level set to 2\n") == "the thermal warning level is 2"


class Machine:
    """A tree of files and a clock; each pause is a turn."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.now, self.pauses, self.turns = root, 1000.0, 0, list[dict[str, int]]()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.used(0)
        self.background = Background(50, root, self.sleep)

    def used(self, seconds: float) -> None:
        write(self.root / "proc", stat=f"cpu  {round(seconds * os.sysconf('SC_CLK_TCK'))} 0 0 99 0 0 0 0 0 0")

    def sleep(self, seconds: float) -> None:
        self.pauses += 1
        self.now += seconds
        turn = self.turns.pop(0)
        if "used" in turn:
            self.used(turn["used"])
        if "capacity" in turn:
            supply(self.root, capacity=turn["capacity"])
        if "temp" in turn:
            zone(self.root, temp=turn["temp"])

    def waits(self, *turns: dict[str, int]) -> int:
        """Count the pauses until there is room, with what changes in each."""
        self.now, self.pauses, self.turns = self.now + 20, 0, [*turns]
        self.background.wait()
        assert not self.turns
        return self.pauses


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="the system counts no ticks")
def test_waits_until_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    machine.used(50)
    machine.background.wait()  # too soon to look
    assert machine.pauses == 0
    assert machine.waits({"used": 100}, {"used": 100}) == 2  # 50 of 20 seconds, then 50 of 10, then none
    supply(tmp_path, status="Discharging", capacity=50)
    assert machine.waits() == 0
    supply(tmp_path, capacity=49)
    assert machine.background.reason() == "the battery has 49 %, less than 50"
    assert machine.waits({"capacity": 49}, {"capacity": 80}) == 2
    zone(tmp_path, type="cpu", temp=99000)
    bound = int(1000 * heat.DEFAULT)
    assert machine.waits({"temp": bound - 1}, {"temp": bound - 4999}, {"temp": bound - 5001}) == 3  # to be cooler
    zone(tmp_path, temp=bound - 1)
    assert machine.waits() == 0  # what did not wait goes on until the bound
    zone(tmp_path, temp=bound)
    machine.background.stop()
    assert machine.waits() == 0


def test_who_waits_is_let_go(tmp_path: Path) -> None:
    background = Background(root=tmp_path)
    zone(tmp_path, type="cpu", temp=99000)
    background._looked -= 60
    waiting = threading.Thread(target=background.wait)
    waiting.start()
    background.stop()
    waiting.join(60)
    assert not waiting.is_alive()


@LINUX
def test_only_the_engines_thread_is_lowered(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And vectors are the same; whether there is room is asked of each batch."""
    asked: list[bool] = []
    monkeypatch.setattr(Background, "wait", lambda self: asked.append(True))
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with Embedder(f"{converted}:int8", workload="background") as low, Embedder(f"{converted}:int8", threads=1) as model:
        assert low._opened.pipeline.threads == 1
        assert not asked  # nothing waits for the self-test
        texts = ["tea", "a bus that is late"]
        assert low.encode(texts).tolist() == model.encode(texts).tolist()
        assert asked
        thread = low._opened.pipeline.backend._thread  # type: ignore[attr-defined]
        assert thread.run(lambda: os.getpriority(os.PRIO_PROCESS, 0)) == max(before, priority.NICE)
        assert os.getpriority(os.PRIO_PROCESS, 0) == before
    with pytest.raises(BackendError, match="closed"):
        low.encode("tea")


LOWERED = """
import os, threading
from edge_embed.device.priority import NICE, lower
threading.Thread(target=threading.Event().wait, daemon=True).start()
lower(whole=True)
threads = [int(name) for name in os.listdir("/proc/self/task")]
assert len(threads) >= 2 and {os.getpriority(os.PRIO_PROCESS, one) >= NICE for one in threads} == {True}
"""


@LINUX
def test_a_whole_process_is_lowered_with_the_threads_that_it_has() -> None:
    assert subprocess.run([sys.executable, "-c", LOWERED], check=False).returncode == 0


@LINUX
def test_a_fork_is_told(converted: Path) -> None:
    model = Embedder(f"{converted}:int8", workload="background")
    child = os.fork()
    if not child:
        try:
            model.encode("tea")
        except BackendError as error:
            os._exit(0 if "forked" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    model.close()


def test_wrong_values(converted: Path) -> None:
    with pytest.raises(InputError, match="unknown workload 'idle': choose from 'background', 'bulk', 'single'"):
        Embedder(converted, workload="idle")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="battery_below=101 must be from 0, which never waits, to 100"):
        Embedder(converted, workload="background", battery_below=101)
