"""How far a step is: on a terminal, in a log, in a notebook, and nowhere; with a clock that the test turns."""

from __future__ import annotations

import io
import re
import sys
import threading
import types
from pathlib import Path

import pytest

from edge_embed import progress as room
from edge_embed.progress import clear, displays, progress, shown, step, tell
from edge_embed.progress.screen import cells, cut

from support.screen import Screen, on_terminal


class Clock:
    """A time that moves when it is told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(displays, "time", clock)
    monkeypatch.setattr(step, "time", clock)
    for name in (*room.OFF, "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return clock


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Return a terminal as the standard error of the progress room alone; pytest keeps the process's own."""
    screen = Screen()
    for module in (room, displays):
        monkeypatch.setattr(module, "sys", types.SimpleNamespace(stderr=screen, modules=sys.modules))
    return screen


def pictures(screen: Screen) -> list[str]:
    """List what the line showed, one after the other, without colours."""
    plain = re.sub(r"\x1b\[\d*m", "", screen.getvalue())
    return [one for one in plain.split("\r\x1b[K") if one]


def test_a_terminal_sees_what_takes_longer_than_a_second(clock: Clock, screen: Screen) -> None:
    with progress("hashing model.onnx", 4_000_000, "B") as move:
        for _ in range(4):
            clock.now += 0.5
            move(500_000)
    assert pictures(screen) == [
        "hashing model.onnx  ━━━━──────────────   25 %  3 s left  1.0 / 4.0 MB  1.0 MB/s",
        "hashing model.onnx  ━━━━━━━───────────   38 %  2 s left  1.5 / 4.0 MB  1.0 MB/s",
        "hashing model.onnx  ━━━━━━━━━─────────   50 %  2 s left  2.0 / 4.0 MB  1.0 MB/s",
    ]
    assert screen.getvalue().endswith("\r\x1b[K")
    assert "\n" not in screen.getvalue()


def test_what_is_quick_is_not_shown(clock: Clock, screen: Screen) -> None:
    with progress("embedding", 3, "texts") as move:
        for _ in range(3):
            clock.now += 0.1
            move()
    assert screen.getvalue() == ""


def test_a_resumed_download_does_not_count_what_was_there(clock: Clock, screen: Screen) -> None:
    with progress("downloading x", 100_000_000, "B", done=90_000_000) as move:
        clock.now += 2
        move(2_000_000)
    assert "92 %" in screen.getvalue()
    assert "8 s left" in screen.getvalue()


def test_nothing_is_promised_where_nobody_knows_the_end(clock: Clock, screen: Screen) -> None:
    with progress("embedding", unit="texts") as move:
        clock.now += 2
        move(50)
    assert pictures(screen) == ["embedding  50 texts  25 texts/s"]


def test_one_line_shows_what_began_last(clock: Clock, screen: Screen) -> None:
    with progress("outer", 10, "x") as outer:
        with progress("inner", 10, "x") as inner:
            clock.now += 5
            outer(5)
            inner(2)
        clock.now += 1
        outer(1)
    assert [picture.split()[0] for picture in pictures(screen)] == ["inner", "outer"]


def test_others_print_above_the_line(clock: Clock, screen: Screen) -> None:
    with progress("hashing", 4, "B") as move:
        clock.now += 2
        move(1)
        tell("a warning")
        clear()
    assert screen.getvalue().endswith("\r\x1b[Ka warning\n")


def test_lines_are_few_in_a_log(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with progress("embedding", 1000, "texts") as move:
        clock.now += 100
        move(500)
    assert log.getvalue() == ""  # a library prints nothing there, a command does
    with shown("everywhere"), progress("embedding", 1000, "texts") as move:
        for _ in range(100):
            clock.now += 1
            move(10)
    assert log.getvalue().splitlines() == [
        "embedding: 10 %, 100 / 1,000 texts, 90 s left".replace("90 s", "2 min"),
        "embedding: 40 %, 400 / 1,000 texts, 60 s left",
        "embedding: 70 %, 700 / 1,000 texts, 30 s left",
        "embedding: 100 %, 1,000 / 1,000 texts, 0 s left",
    ]


def test_what_is_asked_for_is_shown_at_once_and_stays(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with progress("embedding", 3, "texts", show=True) as move:
        clock.now += 0.2
        move(3)
    assert log.getvalue() == "embedding: 3 texts in 0 s\n"


@pytest.mark.parametrize("why", ["False", "nowhere", *room.OFF])
def test_bars_can_be_turned_off(why: str, clock: Clock, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    if why in room.OFF:
        monkeypatch.setenv(why, "1")
    with (
        shown("nowhere" if why == "nowhere" else "terminal"),
        progress("x", 2, "B", show=False if why == "False" else None) as move,
    ):
        clock.now += 9
        move()
        if why == "nowhere":
            tell("a hint")
    assert screen.getvalue() == ""


def test_a_dumb_terminal_gets_no_control_sequences(
    clock: Clock, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with shown("everywhere"), progress("x", 2, "B") as move:
        clock.now += 11
        move()
    assert screen.getvalue() == "x: 50 %, 1 / 2 B, 11 s left\n"


def test_colours_are_left_out_where_that_is_asked_for(
    clock: Clock, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with progress("x", 2, "B") as move:
        clock.now += 2
        move()
    assert "m" not in screen.getvalue().replace("\x1b[K", "")
    assert "50 %" in screen.getvalue()


def test_a_name_is_never_obeyed(clock: Clock, screen: Screen) -> None:
    with progress("hashing \x1b[2J\x07\r\n\u202e漢字" + "x" * 200, 2, "B") as move:
        clock.now += 2
        move()
    (picture,) = pictures(screen)
    assert picture.startswith("hashing \\u001b[2J\\u0007\\u000d")
    assert not {"\x1b[2J", "\x07", "\u202e", "\n"} & {*screen.getvalue()}
    assert "\x1b[2J" not in screen.getvalue()
    assert cells(picture) <= 79


def test_threads_share_a_step(clock: Clock, screen: Screen) -> None:
    with progress("x", 4000, "B", show=True) as move:
        workers = [threading.Thread(target=lambda: [move() for _ in range(1000)]) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert screen.getvalue().endswith("x: 4.0 kB in 0 s\n")


def test_a_closed_stream_costs_no_work(clock: Clock, screen: Screen) -> None:
    with progress("x", 2, "B") as move:
        clock.now += 2
        screen.close()
        move()


def test_a_notebook_gets_tqdms_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    with progress("embedding", 2, "texts", show=True) as move:
        move(2)
    assert "embedding: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "0 s"), (89, "89 s"), (150, "2 min"), (12_000, "3 h 20 min")])
def test_times_are_for_people(seconds: float, told: str) -> None:
    assert step.span(seconds) == told


def test_wide_characters_take_two_cells() -> None:
    assert cells("a漢e\u0301") == 4
    assert cut("漢字漢字", 7) == "漢字..."
    assert cut("abc", 3) == "abc"


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_a_real_terminal(tmp_path: Path) -> None:
    code = """
import time
from edge_embed.progress import progress
with progress("hashing", 3, "B", show=True) as step:
    for _ in range(3):
        time.sleep(0.15)
        step()
"""
    status, seen = on_terminal([sys.executable, "-c", code])
    assert status == 0
    assert "\x1b[36m" in seen
    assert "67 %" in seen
    assert re.search(r"\r\x1b\[Khashing: 3 B in \d s\r\n$", seen)
    status, seen = on_terminal([sys.executable, "-c", code], variables={"TERM": "dumb"})
    assert re.fullmatch(r"hashing: 3 B in \d s\r\n", seen)
