"""A terminal for tests: a child process on a pseudo-terminal, and a stream that says it is one."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Mapping, Sequence


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def on_terminal(
    command: Sequence[str], *, variables: Mapping[str, str] | None = None, stdout: bool = True
) -> tuple[int, str]:
    """Run a command with a pseudo-terminal for its error stream, and its output too unless that is left out.

    Return the exit code and all that came to the terminal.
    """
    import pty  # not on Windows

    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=theirs if stdout else subprocess.DEVNULL,
        stderr=theirs,
        env={**kept, "TERM": "xterm-256color", **(variables or {})},
    )
    os.close(theirs)
    seen = bytearray()
    try:
        while part := os.read(ours, 1 << 16):
            seen += part
    except OSError:  # Linux says so that the other end was closed
        pass
    finally:
        os.close(ours)
    return process.wait(), seen.decode("utf-8", "replace")
