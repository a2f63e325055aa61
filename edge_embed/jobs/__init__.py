"""Files of texts in, files of vectors out: `run` is killed at any moment and goes on; see docs/jobs.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .embed_files import run
    from .running import Summary

__all__ = ["Summary", "run"]
_LAZY = {"Summary": ".running", "run": ".embed_files"}


def __getattr__(name: str) -> Any:
    """Import what runs jobs when it is asked for, since it brings NumPy and the tokenizers with it."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name], __name__), name)
