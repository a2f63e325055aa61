"""Products on Intel's matrix unit are tried in a child before weights are laid out for it."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

llama_cpp = pytest.importorskip("llama_cpp")

from edge_embed.backends.gguf import about, amx, amx_trial, model  # noqa: E402
from edge_embed.device.machine import this_device  # noqa: E402

Ends = Callable[[str], None]


@pytest.fixture
def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    """Make the child run some code instead of the trial, on a processor that has the unit."""
    unit = replace(this_device(), features=frozenset({"amx_int8"}))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(amx, "this_device", lambda: unit)

    def end(code: str) -> None:
        (tmp_path / "child.py").write_text(code)
        monkeypatch.setattr(amx_trial, "__file__", str(tmp_path / "child.py"))

    amx._tried.cache_clear()
    yield end
    amx._tried.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="the trial opens libraries by their names on Linux")
def test_the_trial_tells_a_result_or_dies_alone() -> None:
    done = subprocess.run([sys.executable, "-I", amx_trial.__file__, str(amx.libraries())], capture_output=True)
    assert (done.returncode == 0) == amx.is_sound()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "code", ["import os; os.abort()", "import os; os.kill(os.getpid(), 11)", "raise SystemExit(1)"]
)
def test_a_unit_that_fails_is_told_once_and_left_alone(
    code: str, ends: Ends, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(code)
    with caplog.at_level(logging.WARNING, "edge_embed.llama_cpp"):
        assert not amx.is_sound()
        assert not amx.is_sound()
    assert [record.getMessage() for record in caplog.records] == [f"llama.cpp: {amx.WARNING}"]
    assert about.describe(frozenset())[1] == amx.WARNING
    seen: list[Any] = []

    def load(path: bytes, params: Any) -> int:
        seen.append(params.use_extra_bufts)
        return 1

    monkeypatch.setattr(llama_cpp, "llama_model_load_from_file", load)
    model._load(Path("model.gguf"), {}, quantized=True)
    model._load(Path("model.gguf"), {}, quantized=False)
    assert seen == [False, True]


def test_a_unit_that_works_is_used(ends: Ends) -> None:
    ends("raise SystemExit(0)")
    assert amx.is_sound()


def test_a_frozen_program_starts_no_copy_of_itself(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    ends("raise SystemExit(0)")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert not amx.is_sound()
