"""An agent of macOS' launchd, which runs while its user is logged in."""

from __future__ import annotations

import os
import plistlib
from pathlib import Path

from .plan import Plan, environment

LABEL = "edge-embed.serve"


def agent_path() -> Path:
    """Return where a user's agent stands."""
    return Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"


def agent(plan: Plan) -> bytes:
    """Write the agent: started with the session, and again where it failed."""
    log = str(Path.home() / "Library" / "Logs" / "edge-embed.log")
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": plan.command(),
            "EnvironmentVariables": environment(),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            "ExitTimeOut": 90,  # seconds from SIGTERM to SIGKILL: running requests finish
            "ProcessType": "Interactive",  # others are given less of the processor
            "StandardOutPath": log,
            "StandardErrorPath": log,
            "Umask": 0o077,
        }
    )


def is_ours(data: bytes) -> bool:
    """Whether a file is an agent of this label."""
    try:
        return bool(plistlib.loads(data).get("Label") == LABEL)
    except Exception:  # plistlib raises what its parsers do: whatever that is, it is none of ours
        return False


def commands(path: Path) -> tuple[list[str], list[str]]:
    """Return what starts the agent now and at every login, and what ends it."""
    domain = f"gui/{os.getuid()}"
    return [f"launchctl bootstrap {domain} '{path}'"], [f"launchctl bootout {domain}/{LABEL}"]
