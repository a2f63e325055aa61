"""What the base install takes on disk, package by package, measured in an empty virtual environment.

python benchmarks/size.py [EXTRA ...]     for example: python benchmarks/size.py convert
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = """
import importlib.metadata as m, json, os
sizes = {}
for d in m.distributions():
    paths = [d.locate_file(f) for f in d.files or ()]
    sizes[d.metadata["Name"]] = sum(os.path.getsize(p) for p in paths if os.path.isfile(p))
print(json.dumps(sizes))
"""


def main() -> None:
    """Install, list, print."""
    extras = f"[{','.join(sys.argv[1:])}]" if sys.argv[1:] else ""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "-q", f"{ROOT}{extras}"], check=True, stderr=subprocess.DEVNULL)
        found: dict[str, int] = json.loads(subprocess.check_output([python, "-c", LIST]))
    sizes = {name: size / 1e6 for name, size in found.items() if name not in ("pip", "setuptools")}
    print("| package | MB |\n|---|---|")
    small = {name: size for name, size in sizes.items() if size < 1}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if name not in small:
            print(f"| {name} | {size:.1f} |")
    print(f"| {len(small)} others | {sum(small.values()):.1f} |")
    print(f"| **together** | **{sum(sizes.values()):.1f}** |")
    print(json.dumps({"total_mb": sum(sizes.values()), "packages": sizes}))


if __name__ == "__main__":
    main()
