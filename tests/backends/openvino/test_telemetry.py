"""OpenVINO sends nothing: its telemetry is not loaded, and a process in which a socket is fatal converts and embeds."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.places import ROOT
from support.sandbox import SUPPORTED

CHILD = """
import sys
from support.sandbox import forbid_internet
forbid_internet()
from edge_embed import Embedder
Embedder(sys.argv[1], backend="openvino", offline=True).encode("a text")
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]
from openvino.tools.ovc import telemetry_utils
assert telemetry_utils.tm.__name__.endswith("telemetry_stub")
"""


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed: extra openvino")
@pytest.mark.skipif(not SUPPORTED, reason="the kernel's filter is written for Linux on x86-64 and aarch64")
def test_an_offline_process_opens_no_socket_and_writes_nothing_at_home(checkpoint: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-c", CHILD, f"{checkpoint}:float32"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert not [*tmp_path.rglob("*")]  # neither a consent nor a client's number
