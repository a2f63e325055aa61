"""The option of the commands that may run in the background."""

from __future__ import annotations

import argparse

from edge_embed.device.background import BATTERY_BELOW


def add_battery(command: argparse._ActionsContainer) -> None:
    """Add `--battery-below` to a command, or to a group of its options."""
    command.add_argument(
        "--battery-below",
        type=int,
        default=BATTERY_BELOW,
        metavar="N",
        help="in the background: wait while a battery that is being used has less than N %% (default: %(default)s)",
    )
