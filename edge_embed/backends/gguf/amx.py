"""Whether llama.cpp can be trusted with products on Intel's matrix unit (AMX), which it uses where it was built for it.

GCC before 11.5, 12.4, 13.3 and 14.1 leaves out the bytes that configure the unit (GCC's bug 114098: `_tile_loadconfig`
tells the compiler that it reads eight of 64). A llama.cpp built by such a compiler on a processor with the unit kills
the process at the first product of quantised weights. So a child process tries one; where it fails, weights are loaded
without llama.cpp's own layouts of them, of which the unit's is one. Other systems' compilers are not known to do this.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from edge_embed.device.machine import this_device
from edge_embed.remedies.installing import install_package

from . import amx_trial
from .about import REBUILD
from .log import logger
from .runtime import llama_cpp

PATIENCE = 20  # seconds; it takes a tenth of one
BUILD = f"CC=clang CXX=clang++ {install_package('llama-cpp-python', REBUILD)}"
WARNING = (
    "its products on the matrix unit (AMX) fail, as those of a GCC before 11.5, 12.4, 13.3 or 14.1 do, so that it "
    f"computes without, which takes longer; build it with a newer GCC or with Clang: {BUILD}"
)


def is_sound() -> bool:
    """Whether the unit, if this llama.cpp uses it, multiplies rightly; warns once where it does not."""
    if sys.platform != "linux" or "amx_int8" not in this_device().features:
        return True
    return _tried(libraries(), sys.executable)


def libraries() -> Path:
    """Return the folder of the libraries that llama-cpp-python has opened."""
    return Path(llama_cpp.llama_cpp._base_path)


@cache
def _tried(folder: Path, python: str | None) -> bool:
    """Try a product in a child; a program that was frozen into one file has no Python to start, and does without."""
    if not python or getattr(sys, "frozen", False):
        return False
    words = [python, "-I", amx_trial.__file__, str(folder)]
    try:
        ended = subprocess.run(words, capture_output=True, timeout=PATIENCE, check=False).returncode
    except (OSError, subprocess.TimeoutExpired):
        ended = -1
    if ended:
        logger.warning("llama.cpp: %s", WARNING)
    return ended == 0
