"""A graph -> a session of ONNX Runtime on the CPU."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from edge_embed.device.machine import int8_products_overflow
from edge_embed.errors import BackendError, CorruptModelError, OutOfMemoryError

from .pages import drop_mapped
from .runtime import ort

NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")
# A thread that waits for work spins this long before it sleeps, and not beyond a call. With its own default, which
# spins for longer, one text every 20 ms costs ONNX Runtime four times the CPU, and texts in bulk beside two busy
# processes take 1.5 times as long; on an idle machine nothing is gained by it in bulk or back to back. Releases that
# do not know a setting pass it over. python -m benchmarks speed.threads
SPIN = {"session.intra_op.spin_duration_us": "50", "session.force_spinning_stop": "1"}
SHRINK = ort.RunOptions()  # give what a call took back to the system after it
SHRINK.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")


class Session(ort.InferenceSession):  # type: ignore[misc]
    """A session that a forked process computes with, in one thread, and never frees: that would wait for the others."""

    def __init__(self, path: Path, options: Any) -> None:
        super().__init__(str(path), options, providers=["CPUExecutionProvider"])
        self._process = os.getpid()

    def __del__(self) -> None:
        if getattr(self, "_process", os.getpid()) != os.getpid():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))


def open_session(path: Path, threads: int) -> Any:
    """Open a graph; raise CorruptModelError when ONNX Runtime cannot."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # warnings about other people's graphs are no use to our users
    options.enable_mem_pattern = False  # it keeps one memory plan for every shape that it ever met
    for key, value in SPIN.items():
        options.add_session_config_entry(key, value)
    if int8_products_overflow():  # ask for the exact kernels, which take 1.5 times as long
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        session = Session(path, options)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise _refusal(error, path) from error
    drop_mapped(path)
    return session


def _refusal(error: Exception, path: Path) -> CorruptModelError:
    """Return the error to raise where a graph does not open; links out of its own folder are not followed."""
    why = f"ONNX Runtime {ort.__version__} cannot load {path}: {error}"
    if "External data path" in str(error):
        why += (
            f". It takes weights only from {path.parent} and from the folder in which {path.name} really lies: put the "
            "files of weights there, by hard links or copies in the place of links"
        )
    return CorruptModelError(why)


def failure(error: Exception, what: str) -> BackendError:
    """Return the error to raise when a run failed on `what`."""
    kind = OutOfMemoryError if any(words in str(error) for words in NO_MEMORY) else BackendError
    return kind(f"ONNX Runtime failed on {what}: {error}")
