"""What the base install takes on disk, package by package, measured in an empty virtual environment.

python -m benchmarks memory.install [EXTRA ...]     for example: python -m benchmarks memory.install convert
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Report, Table
from benchmarks.worker import ROOT

LIST = """
import importlib.metadata as m, json, os
sizes = {}
for d in m.distributions():
    paths = [d.locate_file(f) for f in d.files or ()]
    sizes[d.metadata["Name"]] = sum(os.path.getsize(p) for p in paths if os.path.isfile(p))
print(json.dumps(sizes))
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="extras to install with it")


def run(args: argparse.Namespace) -> Report:
    """Install, and tell the sizes."""
    sizes = installed(args.extras)
    small = {name: size for name, size in sizes.items() if size < 1}
    table = Table("package", "MB")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if name not in small:
            table.add(name, f"{size:.1f}")
    table.add(f"{len(small)} others", f"{sum(small.values()):.1f}")
    table.add("**together**", f"**{sum(sizes.values()):.1f}**")
    return Report([table], {"total_mb": sum(sizes.values()), "packages": sizes})


def installed(extras: Sequence[str]) -> dict[str, float]:
    """Install this checkout into an empty environment -> MB of each package that came with it."""
    chosen = f"[{','.join(extras)}]" if extras else ""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "-q", f"{ROOT}{chosen}"], check=True, stderr=subprocess.DEVNULL)
        found: dict[str, int] = json.loads(subprocess.check_output([python, "-c", LIST]))
    return {name: size / 1e6 for name, size in found.items() if name not in ("pip", "setuptools")}
