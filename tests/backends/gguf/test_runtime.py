"""How long llama.cpp's threads spin is set while its library loads, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from edge_embed.backends.gguf.runtime import SPIN, spinning

LOAD = "import os, edge_embed.backends.gguf.runtime; print(os.environ.get('GOMP_SPINCOUNT'))"


def load(**environment: str) -> tuple[str, str]:
    """Load llama.cpp in a process of its own -> what it has in its environment after, and the line of libgomp."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env={**given, "OMP_DISPLAY_ENV": "verbose", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    told = [line.strip() for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if not told:
        pytest.skip("this llama.cpp was built without GCC's OpenMP, whose threads are set here")
    return done.stdout.strip(), told[0].partition("GOMP_SPINCOUNT")[2]


def test_its_threads_sleep_soon() -> None:
    left, told = load()
    assert told == f" = '{SPIN['GOMP_SPINCOUNT']}'"
    assert left == "None"


def test_who_has_chosen_keeps_the_choice() -> None:
    left, told = load(GOMP_SPINCOUNT="77")
    assert (left, told) == ("77", " = '77'")
    left, told = load(OMP_WAIT_POLICY="PASSIVE")
    assert (left, told) == ("None", " = '0'")


def test_the_environment_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    with spinning({"GOMP_SPINCOUNT": "5"}):
        assert os.environ["GOMP_SPINCOUNT"] == "5"
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with spinning({"GOMP_SPINCOUNT": "5"}):
        assert "GOMP_SPINCOUNT" not in os.environ
