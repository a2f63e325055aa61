"""Nothing leaves the machine: a process that opens an internet socket is killed, and an offline one lives on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.places import ROOT
from support.sandbox import SUPPORTED

CHILD = """
import socket, sys, time
from support.sandbox import forbid_internet
forbid_internet()
if sys.argv[1] == "connect":
    socket.socket()
from edge_embed import Embedder
Embedder(sys.argv[1], offline=True).encode("a text")
time.sleep(12)  # what ONNX Runtime sends, it sends ten seconds after a model was opened
"""


def run(argument: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    environment |= {"XDG_CACHE_HOME": str(home / ".cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", CHILD, argument]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=home, check=False)


@pytest.mark.skipif(not SUPPORTED, reason="the kernel's filter is written for Linux on x86-64 and aarch64")
def test_an_offline_process_opens_no_socket_and_writes_into_no_other_cache(converted: Path, tmp_path: Path) -> None:
    assert run("connect", tmp_path).returncode == -signal.SIGSYS  # the filter bites
    done = run(f"{converted}:int8", tmp_path)
    assert done.returncode == 0, done.stderr
    assert not [*tmp_path.rglob("*")]  # EDGE_EMBED_CACHE lies elsewhere
