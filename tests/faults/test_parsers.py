"""No file that somebody else made makes its reader do anything but return or raise an error of ours, within a second.

Seeds are fixed unless EDGE_EMBED_FAULTS asks for a long run.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from support import faults
from support.places import ROOT
from support.samples import samples

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of whole files."""
    return samples(tmp_path_factory.mktemp("samples"))


@pytest.mark.parametrize(
    ("campaign", "share", "least"), [("parsers.py", 0.25, 500), ("shrinking.py", 0.1, 300), ("engines.py", 0.3, 50)]
)
def test_spoilt_files_do_no_harm(files: Path, campaign: str, share: float, least: int) -> None:
    """In a process of its own, since its forks may not have another's threads and loaded models."""
    seed = secrets.randbelow(1 << 30) if faults.long() else 0
    child = subprocess.run(
        [sys.executable, HERE / campaign, files, str(faults.seconds(share)), str(seed)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    found = json.loads(child.stdout)
    print(f"seed {seed}:", {kind: one["tried"] for kind, one in found.items()})
    broken = {kind: one["faults"] for kind, one in found.items() if one["faults"]}
    assert not broken, f"seed {seed}: {json.dumps(broken, indent=1)}"
    assert sum(one["tried"] for one in found.values()) >= least
